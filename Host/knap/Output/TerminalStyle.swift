import Glibc

/// How text is shown where it goes: on a terminal with what was found set off, in a pipe as it is.
struct TerminalStyle {
    /// Whether it goes to a terminal, which takes signs for orders.
    var isTerminal = false
    /// Whether the terminal's user wants colours.
    var hasColour = false

    static let plain = TerminalStyle()

    /// For what is printed as a result. NO_COLOR with any value turns colours off (no-color.org).
    static var output: TerminalStyle {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let isUnwanted = variable("NO_COLOR")?.isEmpty == false || variable("TERM") == "dumb"
        return TerminalStyle(isTerminal: isTerminal, hasColour: isTerminal && !isUnwanted)
    }

    /// A text from a plugin, with parts of it set off; begin and end of each are Unicode scalars of the text.
    func shown(_ text: String, marks: [Range<Int>] = []) -> String {
        guard isTerminal else { return text }
        var shown = String.UnicodeScalarView()
        var marks = marks.sorted { $0.lowerBound < $1.lowerBound }[...]
        var end: Int?
        for (number, scalar) in text.unicodeScalars.enumerated() {
            if number == end { set(off: false, in: &shown, &end) }
            while end == nil, let mark = marks.first, mark.lowerBound <= number {
                marks = marks.dropFirst()
                if mark.upperBound > number { set(off: true, in: &shown, &end, mark.upperBound) }
            }
            shown.append(Self.isOrder(scalar) ? "\u{FFFD}" : scalar)
        }
        if end != nil { set(off: false, in: &shown, &end) }
        return String(shown)
    }

    func heading(_ text: String) -> String { hasColour ? "\u{1B}[1m\(shown(text))\u{1B}[0m" : shown(text) }

    private func set(off isOn: Bool, in text: inout String.UnicodeScalarView, _ end: inout Int?, _ place: Int? = nil) {
        if hasColour { text.append(contentsOf: (isOn ? "\u{1B}[1;31m" : "\u{1B}[0m").unicodeScalars) }
        end = place
    }

    /// A control sign could move the cursor or worse: what a note says is text and nothing else.
    private static func isOrder(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 && scalar != "\n" && scalar != "\t" || (0x7F...0x9F).contains(scalar.value)
    }
}
