/// The texts of headings as links write and compare them.
///
/// A link leaves out what would end it or have a meaning in it: `#`, `|`, `^`, `:`, `\`, `%%`, `[[` and `]]`. Those, case
/// and repeated blanks do not matter when a heading is sought.
enum HeadingText {
    /// Of a heading, without the `^id` behind it.
    static func title(of heading: Heading) -> String {
        guard let id = BlockStart.blockID(Array(heading.text.utf8)[...]), heading.text.utf8.count > id.utf8.count + 1 else {
            return heading.text
        }
        return String(heading.text.dropLast(id.count + 1).trimmed)
    }

    /// As a link writes it.
    static func linked(_ text: some StringProtocol) -> String {
        var kept = ""
        var rest = text[...]
        while let first = rest.first {
            if "#|^:\\".contains(first) {
                kept += " "
                rest = rest.dropFirst()
            } else if ["%%", "[[", "]]"].contains(where: { rest.hasPrefix($0) }) {
                kept += " "
                rest = rest.dropFirst(2)
            } else {
                kept.append(first)
                rest = rest.dropFirst()
            }
        }
        return collapsed(kept)
    }

    static func compared(_ text: some StringProtocol) -> String { folded(linked(text)) }

    static func collapsed(_ text: some StringProtocol) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}
