"""An application behind the output stream: prints records, drops repeats, checks order, and says what it has seen.

consume.py HELPER_DIR ENDPOINT STREAM EXPECTED SHOWN: EXPECTED 0 = until stopped; SHOWN = records to print.
"""

import datetime
import json
import sys
import time

import boto3

sys.path.insert(0, sys.argv[1])
from millrace_dedupe import Dedupe  # noqa: E402

endpoint, stream, expected, shown = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])

kinesis = boto3.client(
    "kinesis",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="demo",
    aws_secret_access_key="demo",
)

# Nobody splits the shards of this stream.
iterators = {
    shard["ShardId"]: kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]
}
dedupe = Dedupe()
new, repeats, delays, newest = 0, 0, [], {}
quiet_since = time.monotonic()
while expected == 0 or new < expected:
    for shard, iterator in list(iterators.items()):
        answer = kinesis.get_records(ShardIterator=iterator)
        iterators[shard] = answer["NextShardIterator"]
        for record in answer["Records"]:
            quiet_since = time.monotonic()
            output = json.loads(record["Data"])
            # What is in order is each key.
            if not dedupe.is_new(stream, record["PartitionKey"], output["millrace"]):
                repeats += 1
                continue
            new += 1
            driver, made = output["entity_keys"]["driver_id"], output["feature_timestamp"]
            if made < newest.get(driver, ""):
                sys.exit(f"driver {driver}: {made} came after {newest[driver]}")
            newest[driver] = made
            time_made = datetime.datetime.fromisoformat(made.replace("Z", "+00:00"))
            delays.append((datetime.datetime.now(datetime.timezone.utc) - time_made).total_seconds())
            if new <= shown or expected == 0:
                print(f"{record['PartitionKey']:>5}  {record['Data'].decode()}", flush=True)
    if expected and time.monotonic() - quiet_since > 60:
        sys.exit(f"{new} of {expected} records came, and none for a minute")
    # Five reads a second and shard are allowed.
    time.sleep(0.2)
delays.sort()
print(
    f"{new} records of {len(newest)} drivers, {repeats} repeats dropped; event to application: "
    f"half within {delays[len(delays) // 2] * 1000:.0f} ms",
    flush=True,
)
