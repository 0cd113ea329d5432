import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.Properties;

/**
 * A small Java server for tests: it speaks the server-list ping of the Minecraft protocol, reads `server.properties` and
 * `eula.txt` like the real one, prints its ready line and knows `stop`. Never part of the product.
 */
public final class PingServer {
    public static void main(String[] args) throws Exception {
        if (!properties("eula.txt").getProperty("eula", "false").equals("true")) {
            System.out.println("[00:00:00] [main/INFO]: You need to agree to the EULA in order to run the server. Go to eula.txt for more info.");
            return;
        }
        int port = Integer.parseInt(properties("server.properties").getProperty("server-port", "25565"));
        ServerSocket listener = new ServerSocket(port, 50, InetAddress.getLoopbackAddress());
        System.out.println("[00:00:00] [Server thread/INFO]: Starting minecraft server version test on Java " + System.getProperty("java.version"));
        System.out.println("[00:00:00] [Server thread/INFO]: Heap " + Runtime.getRuntime().maxMemory() / (1 << 20) + " MiB");
        System.out.println("[00:00:01] [Server thread/INFO]: Done (0.1s)! For help, type \"help\"");
        Thread accepting = new Thread(() -> accept(listener));
        accepting.setDaemon(true);
        accepting.start();
        BufferedReader console = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = console.readLine()) != null;) {
            if (line.equals("stop")) {
                Files.createDirectories(Path.of("world"));
                Files.writeString(Path.of("world", "level.dat"), "saved");
                System.out.println("[00:00:02] [Server thread/INFO]: Stopping the server");
                System.exit(0);
            }
        }
    }

    private static Properties properties(String file) throws IOException {
        Properties read = new Properties();
        if (Files.exists(Path.of(file))) {
            try (InputStream in = Files.newInputStream(Path.of(file))) {
                read.load(in);
            }
        }
        return read;
    }

    private static void accept(ServerSocket listener) {
        while (true) {
            try (Socket client = listener.accept()) {
                client.setSoTimeout(5000);
                answer(new DataInputStream(client.getInputStream()), client.getOutputStream());
            } catch (IOException ended) {
                // A client that leaves early is no matter.
            }
        }
    }

    private static void answer(DataInputStream in, OutputStream out) throws IOException {
        in.skipNBytes(number(in)); // handshake
        in.skipNBytes(number(in)); // status request
        String status = "{\"version\":{\"name\":\"test\",\"protocol\":769},\"players\":{\"max\":20,\"online\":0},\"description\":\"ping\"}";
        byte[] text = status.getBytes(StandardCharsets.UTF_8);
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        body.write(0);
        number(body, text.length);
        body.write(text);
        number(out, body.size());
        body.writeTo(out);
        byte[] ping = in.readNBytes(number(in));
        number(out, ping.length);
        out.write(ping);
        out.flush();
    }

    private static int number(DataInputStream in) throws IOException {
        int value = 0;
        for (int shift = 0; shift < 35; shift += 7) {
            int read = in.readUnsignedByte();
            value |= (read & 0x7f) << shift;
            if ((read & 0x80) == 0) {
                return value;
            }
        }
        throw new IOException("not a VarInt");
    }

    private static void number(OutputStream out, int value) throws IOException {
        for (; (value & ~0x7f) != 0; value >>>= 7) {
            out.write(value & 0x7f | 0x80);
        }
        out.write(value);
    }
}
