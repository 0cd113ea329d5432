import java.io.*;
import java.nio.file.*;

/**
 * Makes a server root the way Forge's installer does (`--installServer`): libraries with an argument file, and
 * `user_jvm_args.txt`. For tests of the installer path; the server in it is {@link PingServer}.
 */
public final class Installer {
    public static void main(String[] args) throws IOException {
        if (args.length != 1 || !args[0].equals("--installServer")) {
            System.err.println("unexpected arguments");
            System.exit(2);
        }
        System.out.println("Extracting main jar:");
        Path library = Path.of("libraries/net/minecraftforge/forge/1.20.1-47.2.0");
        Files.createDirectories(library);
        try (InputStream server = Installer.class.getResourceAsStream("/server.jar")) {
            Files.copy(server, library.resolve("server.jar"), StandardCopyOption.REPLACE_EXISTING);
        }
        Files.writeString(library.resolve("unix_args.txt"), "-jar " + library.resolve("server.jar") + "\n");
        if (!Files.exists(Path.of("user_jvm_args.txt"))) {
            Files.writeString(Path.of("user_jvm_args.txt"), "# -Xmx4G\n");
        }
        System.out.println("The server installed successfully");
    }
}
