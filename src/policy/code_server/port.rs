//! Ports that no browser opens, whatever listens there.

/// The list of the Fetch standard ("port blocking"), <https://fetch.spec.whatwg.org/#port-blocking>.
const BLOCKED: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Does every browser refuse to open it?
pub fn is_shunned(port: u16) -> bool {
    BLOCKED.contains(&port)
}

/// May the editor listen there? An error says why not, and what to do.
pub fn check_port(port: u16, agent: u16) -> Result<(), String> {
    if is_shunned(port) {
        return Err(format!(
            "browsers refuse to open port {port} (ERR_UNSAFE_PORT): set codeserver.port to another one, e.g. 8080"
        ));
    }
    match port == agent {
        true => Err(format!("port {port} is the agent's own: set codeserver.port to another one, e.g. 8080")),
        false => Ok(()),
    }
}
