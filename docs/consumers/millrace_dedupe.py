"""Drops repeated records of a Millrace output topic. No dependencies; works with every Kafka client.

At-least-once output repeats records after a failure, always as a stretch that was sent before and in the same order.
So one remembered value for each output partition, view and source partition is enough: what is not greater was seen.
"""


class Dedupe:
    def __init__(self, seen=None):
        """`seen`: what `seen` was when your own progress was saved; keep the two together."""
        self.seen = dict(seen or {})

    def is_new(self, topic, partition, header, view=""):
        """Whether a record was not seen yet. `header`: value of its header `millrace`, bytes or text.

        `view`: `feature_view_name` of the record, needed only where several views write to the topic.
        """
        text = header.decode() if isinstance(header, bytes) else header
        version, epoch, source, source_partition, position, row = text.split(";")[:6]
        if version != "1":
            raise ValueError(f"identity of version {version!r}; this helper knows version 1")
        place = f"{topic}/{partition}/{view}/{source}/{source_partition}"
        # Positions are hex of one width for each source partition: their text order is their order.
        value = [int(epoch), position, int(row)]
        if value <= self.seen.get(place, [-1, "", -1]):
            return False
        self.seen[place] = value
        return True
