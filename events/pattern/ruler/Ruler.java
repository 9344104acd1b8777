// event-ruler on the same files as `examples/rules.rs`, on one thread:
//
//     java -cp 'JARS/*' Ruler.java RULES EVENTS SECONDS
//
// It warms up for as long as it measures. A line on stdout: events a second, from text, which is
// the only way that is not deprecated, and the matches of one round.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import software.amazon.event.ruler.Machine;

public final class Ruler {
    public static void main(String[] args) throws Exception {
        Machine machine = new Machine();
        int number = 0;
        for (String rule : Files.readAllLines(Path.of(args[0]))) {
            machine.addRule("rule-" + number++, rule);
        }
        List<String> events = Files.readAllLines(Path.of(args[1]));
        double seconds = Double.parseDouble(args[2]);
        int matches = round(machine, events);
        rounds(machine, events, matches, seconds);
        double each = rounds(machine, events, matches, seconds);
        System.out.printf("%.0f %d%n", events.size() * each, matches);
    }

    private static int round(Machine machine, List<String> events) throws Exception {
        int matches = 0;
        for (String event : events) {
            matches += machine.rulesForJSONEvent(event).size();
        }
        return matches;
    }

    /** How many rounds fit into a second. */
    private static double rounds(
            Machine machine, List<String> events, int matches, double seconds) throws Exception {
        long start = System.nanoTime();
        int rounds = 0;
        while (System.nanoTime() - start < seconds * 1e9) {
            if (round(machine, events) != matches) {
                throw new IllegalStateException("two rounds differ");
            }
            rounds++;
        }
        return rounds / ((System.nanoTime() - start) / 1e9);
    }
}
