import java.nio.file.*;
public class Hook {
    static void mark(String name) { try { Files.write(Path.of("/seen/" + name), new byte[0]); } catch (Exception ignored) { } }
    public static void main(String[] words) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            mark("told");
            try { Thread.sleep(300); } catch (InterruptedException ignored) { }
            mark("done");
        }));
        mark("ready");
        Thread.sleep(600000);
    }
}
