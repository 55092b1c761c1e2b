import Glibc
import KnapJSON

/// Results go to stdout, all else to stderr, so that results can be piped.
enum Output {
    static func print(_ text: String) { write(text.hasSuffix("\n") ? text : text + "\n", to: STDOUT_FILENO) }
    static func note(_ text: String) { write(text.hasSuffix("\n") ? text : text + "\n", to: STDERR_FILENO) }

    /// A result: one compact line for programs, or the text that `human` makes for people.
    static func result(_ json: JSON, asJSON: Bool, human: (JSON) -> String) {
        let text = asJSON ? json.serialized() : human(json)
        if !text.isEmpty { print(text) }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: sent), bytes.count - sent)
                if count > 0 { sent += count } else if errno != EINTR { return }
            }
        }
    }
}
