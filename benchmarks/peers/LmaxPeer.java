import com.lmax.disruptor.*;
import java.io.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

/**
 * The LMAX Disruptor as a peer: one JVM that stays, and does a round for each line that it reads.
 *
 * "hop TRIPS" answers "ok TRIPS" and then TRIPS int64 nanoseconds, little-endian; "flow SHAPE BATCH MESSAGES" answers
 * "ok NS"; "wrong …" when a word did not arrive. Single producer, BusySpinWaitStrategy; where threads share cores
 * YieldingWaitStrategy, since spinning on the producer's own core gains nothing. Arguments: how many cores there are,
 * and how many slots a ring has. The threads live as long as the JVM, are named lmax-0, lmax-1, …, and are pinned from outside by name.
 */
public final class LmaxPeer {
    static final int THREADS = 4;
    static final ExecutorService[] threads = new ExecutorService[THREADS];
    static int cores, slots;

    /** 64 bytes of payload, in the object that its slot holds for ever. */
    static final class Message {
        long a, b, c, d, e, f, g, h;

        void fill(long v) {
            a = v; b = v + 1; c = v + 2; d = v + 3; e = v + 4; f = v + 5; g = v + 6; h = v + 7;
        }

        long sum() { return a + b + c + d + e + f + g + h; }
    }

    static long sumOf(long value) { return 8 * value + 28; }

    static RingBuffer<Message> ring(int threadsInAll) {
        WaitStrategy wait = threadsInAll > cores ? new YieldingWaitStrategy() : new BusySpinWaitStrategy();
        return RingBuffer.createSingleProducer(Message::new, slots, wait);
    }

    /** Two rings, kept from round to round; both sides wait on the barrier themselves. */
    static final class Hop {
        final RingBuffer<Message> there = ring(2), back = ring(2);
        final SequenceBarrier atPong = there.newBarrier(), atPing = back.newBarrier();
        final Sequence taken = new Sequence(-1), returned = new Sequence(-1);
        long wrong;

        Hop() {
            there.addGatingSequences(taken);
            back.addGatingSequences(returned);
        }

        void ping(long[] samples, int trips) throws Exception {
            for (int k = 0; k < trips; k++) {
                long before = System.nanoTime();
                long sequence = there.next();
                there.get(sequence).fill(k);
                there.publish(sequence);
                atPing.waitFor(sequence);
                if (back.get(sequence).sum() != sumOf(k)) wrong++;
                returned.set(sequence);
                samples[k] = System.nanoTime() - before;
            }
        }

        void pong(int trips) throws Exception {
            long from = taken.get() + 1;
            for (long next = from; next < from + trips; next++) {
                atPong.waitFor(next);
                long value = there.get(next).a;
                long sequence = back.next();
                back.get(sequence).fill(value);
                back.publish(sequence);
                taken.set(next);
            }
        }
    }

    /** Takes all of a round, sums it, and halts its processor at the last message. */
    static final class Sink implements EventHandler<Message> {
        BatchEventProcessor<Message> processor;
        long last, total, endedAt;

        @Override
        public void onEvent(Message message, long sequence, boolean endOfBatch) {
            total += message.sum();
            if (sequence == last) {
                endedAt = System.nanoTime();
                processor.halt();
            }
        }
    }

    /** One shape: a ring, and its processors after each other as the shape says, one a thread. */
    static final class Flow {
        final RingBuffer<Message> ring;
        final List<Sink> sinks = new ArrayList<>();
        long sent;

        Flow(String shape) {
            int readers = shape.equals("1to1") ? 1 : shape.equals("1to2") ? 2 : 3;
            ring = ring(1 + readers);
            if (shape.equals("pipeline3")) {
                Sequence first = after().getSequence();
                ring.addGatingSequences(after(after(first).getSequence()).getSequence());
            } else if (shape.equals("diamond")) {
                Sequence left = after().getSequence(), right = after().getSequence();
                ring.addGatingSequences(after(left, right).getSequence());
            } else {
                for (int k = 0; k < readers; k++) ring.addGatingSequences(after().getSequence());
            }
        }

        BatchEventProcessor<Message> after(Sequence... before) {
            Sink sink = new Sink();
            sink.processor = new BatchEventProcessor<>(ring, ring.newBarrier(before), sink);
            sinks.add(sink);
            return sink.processor;
        }

        /** While the ring is full next() parks, which is best where cores are shared; alone on its core we spin. */
        void produce(long messages, int batch, boolean alone) {
            for (long value = 0; value < messages; value += batch) {
                while (alone && !ring.hasAvailableCapacity(batch)) Thread.onSpinWait();
                long high = ring.next(batch), low = high - batch + 1;
                for (long sequence = low; sequence <= high; sequence++)
                    ring.get(sequence).fill(value + (sequence - low));
                ring.publish(low, high);
            }
        }

        String round(long messages, int batch) throws Exception {
            long due = 0;
            for (long value = 0; value < messages; value++) due += sumOf(value);
            List<Future<?>> ends = new ArrayList<>();
            for (int k = 0; k < sinks.size(); k++) {
                Sink sink = sinks.get(k);
                sink.last = sent + messages - 1;
                sink.total = 0;
                ends.add(threads[1 + k].submit(sink.processor));
            }
            for (Sink sink : sinks) while (!sink.processor.isRunning()) Thread.sleep(0, 100_000);
            boolean alone = 1 + sinks.size() <= cores;
            long[] startedAt = new long[1];
            threads[0].submit(() -> {
                startedAt[0] = System.nanoTime();
                produce(messages, batch, alone);
            }).get();
            for (Future<?> end : ends) end.get();
            sent += messages;
            long endedAt = Long.MIN_VALUE;
            for (Sink sink : sinks) {
                endedAt = Math.max(endedAt, sink.endedAt);
                if (sink.total != due) return "wrong " + sink.total + " expected " + due;
            }
            return "ok " + (endedAt - startedAt[0]);
        }
    }

    static void answer(WritableByteChannel out, String text) throws IOException {
        out.write(ByteBuffer.wrap((text + "\n").getBytes(StandardCharsets.US_ASCII)));
    }

    static void hop(WritableByteChannel out, Hop hop, int trips) throws Exception {
        long[] samples = new long[trips];
        Future<?> pong = threads[1].submit(() -> { hop.pong(trips); return null; });
        threads[0].submit(() -> { hop.ping(samples, trips); return null; }).get();
        pong.get();
        if (hop.wrong != 0) {
            answer(out, "wrong " + hop.wrong + " messages");
            return;
        }
        answer(out, "ok " + trips);
        ByteBuffer bytes = ByteBuffer.allocate(8 * trips).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(samples);
        while (bytes.hasRemaining()) out.write(bytes);
    }

    public static void main(String[] arguments) throws Exception {
        cores = Integer.parseInt(arguments[0]);
        slots = Integer.parseInt(arguments[1]);
        for (int k = 0; k < THREADS; k++) {
            String name = "lmax-" + k;
            threads[k] = Executors.newSingleThreadExecutor(work -> {
                Thread thread = new Thread(work, name);
                thread.setDaemon(true);
                return thread;
            });
            threads[k].submit(() -> { }).get();
        }
        WritableByteChannel out = new FileOutputStream(FileDescriptor.out).getChannel();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        answer(out, "ready");
        Hop hop = new Hop();
        Map<String, Flow> flows = new HashMap<>();
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ");
            if (words[0].equals("hop")) {
                hop(out, hop, Integer.parseInt(words[1]));
            } else {
                Flow flow = flows.computeIfAbsent(words[1], Flow::new);
                answer(out, flow.round(Long.parseLong(words[3]), Integer.parseInt(words[2])));
            }
        }
    }
}
