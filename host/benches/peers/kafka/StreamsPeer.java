import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/** Ad events to output records with Kafka Streams: two threads, Jackson on plain classes, at-least-once, its own linger. */
public final class StreamsPeer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ObjectReader EVENTS = JSON.readerFor(Event.class);
    private static final ObjectWriter RECORDS = JSON.writerFor(Output.class);

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Event {
        public String timestamp;
        public String user_uuid;
        public long ad_id;
        public boolean clicked;
        public double bid;
    }

    public record Keys(String user_id) {}

    public record Values(String impression) {}

    public record Output(String version, String producer, String job_type, String feature_view_name,
            String feature_view_id, String feature_timestamp, Keys entity_keys, Values feature_values) {}

    private static byte[] transform(byte[] payload) {
        try {
            Event event = EVENTS.readValue(payload);
            return RECORDS.writeValueAsBytes(new Output("1", "millrace", "stream", "user_impression_counts",
                    "55203e1d77a1632615883a1f52d64b4c", event.timestamp, new Keys(event.user_uuid), new Values("1")));
        } catch (IOException problem) {
            throw new UncheckedIOException(problem);
        }
    }

    public static void main(String[] args) throws InterruptedException {
        Map<String, String> env = System.getenv();
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer-" + env.get("KAFKA_OUTPUT"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env.get("KAFKA_BOOTSTRAP"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir") + "/streams-peer");
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        StreamsBuilder builder = new StreamsBuilder();
        builder.<byte[], byte[]>stream(env.get("KAFKA_INPUT"))
                .mapValues(StreamsPeer::transform)
                .to(env.get("KAFKA_OUTPUT"));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        new CountDownLatch(1).await();
    }
}
