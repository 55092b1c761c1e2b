/// Where in a link, as it is written, its target and its subpath are, and how they are written there.
struct LinkParts {
    private enum Writing {
        case plain
        /// Percent-encoded; between angle brackets blanks stay as they are.
        case encoded(isAngled: Bool, isASCII: Bool)
    }

    private let link: NoteLink
    private let original: String
    private let target: Range<String.Index>
    private let subpath: Range<String.Index>
    private let writing: Writing

    /// Nil for a link whose text does not show them, such as the file node of a canvas.
    init?(_ link: NoteLink) {
        self.link = link
        original = link.original
        switch link.kind {
        case .file: return nil
        case .wikilink, .embed, .property:
            // By bytes: a combining mark behind a bracket or a bar is one character with it.
            let utf8 = original.utf8
            guard utf8.count >= 5 else { return nil }
            let open = utf8.index(utf8.startIndex, offsetBy: link.kind == .embed ? 3 : 2)
            let content = utf8[open..<utf8.index(utf8.endIndex, offsetBy: -2)]
            var body = content
            if let bar = content.dropFirst().firstIndex(of: UInt8(ascii: "|")) {
                body = content[..<bar]
                if body.last == UInt8(ascii: "\\") { body = body.dropLast() }
            }
            let hash = body.firstIndex(of: UInt8(ascii: "#")) ?? body.endIndex
            (target, subpath) = (Self.range(Substring(body[..<hash]).trimmed), Self.range(Substring(body[hash...]).trimmed))
            writing = .plain
        case .markdown, .markdownEmbed:
            let marks = link.kind == .markdownEmbed ? 2 : 1
            let open = original.utf8.index(original.startIndex, offsetBy: marks + (link.display ?? "").utf8.count + 2)
            var destination = original[open...].dropLast()
            var isAngled = false
            if destination.hasPrefix("<"), let angle = destination.firstIndex(of: ">") {
                destination = destination.dropFirst().prefix(upTo: angle)
                isAngled = true
            } else if let blank = destination.firstIndex(where: \.isWhitespace) {
                destination = destination.prefix(upTo: blank)
            }
            let hash = [destination.firstIndex(of: "#"), destination.ranges(of: "%23").first?.lowerBound]
                .compactMap(\.self).min() ?? destination.endIndex
            (target, subpath) = (Self.range(destination[..<hash]), Self.range(destination[hash...]))
            // Who writes letters outside of ASCII by their bytes does it everywhere.
            let isASCII = destination.utf8.allSatisfy { $0 < 0x80 } && !link.target.utf8.allSatisfy { $0 < 0x80 }
            writing = .encoded(isAngled: isAngled, isASCII: isASCII)
        }
    }

    private static func range(_ text: Substring) -> Range<String.Index> { text.startIndex..<text.endIndex }

    /// The link with another target or subpath, all else as it is; nil where it cannot be written so that it is read
    /// back as that.
    func written(_ destination: LinkDestination) -> String? {
        var text = original
        if destination.subpath != link.subpath { text.replaceSubrange(subpath, with: encoded(destination.subpath)) }
        // The target stands before the subpath, whose change leaves its place as it is.
        if !destination.target.utf8.elementsEqual(link.target.utf8) {
            let start = original.utf8.distance(from: original.startIndex, to: target.lowerBound)
            let end = original.utf8.distance(from: original.startIndex, to: target.upperBound)
            let range = text.utf8.index(text.startIndex, offsetBy: start)..<text.utf8.index(text.startIndex, offsetBy: end)
            text.replaceSubrange(range, with: encoded(destination.target))
        }
        return Self.read(text, like: link) == destination ? text : nil
    }

    private static func read(_ text: String, like link: NoteLink) -> LinkDestination? {
        let found: NoteLink?
        if case .property = link.kind {
            guard text.utf8.count >= 4 else { return nil }
            let content = String(Substring(text.utf8.dropFirst(2).dropLast(2)))
            guard !content.contains("[["), !content.contains("]]") else { return nil }
            return LinkText.split(content).map { LinkDestination(target: $0.target, subpath: $0.subpath) }
        }
        found = NoteParser.parse("x " + text).links.first
        guard let found, found.original == text else { return nil }
        return LinkDestination(target: found.target, subpath: found.subpath)
    }

    private func encoded(_ text: String) -> String {
        guard case .encoded(let isAngled, let isASCII) = writing else { return text }
        // Brackets that do not match would end the destination, or not end it.
        var depth = 0
        let isBalanced = text.allSatisfy { character in
            depth += character == "(" ? 1 : character == ")" ? -1 : 0
            return depth >= 0
        } && depth == 0
        var encoded = ""
        for scalar in text.unicodeScalars {
            let mustBe =
                switch scalar {
                case "%", "<", ">": true
                case "(", ")": !isAngled && !isBalanced
                case ":": !text.contains("/")
                default: scalar.properties.isWhitespace && !(isAngled && scalar == " ") || isASCII && scalar.value >= 0x80
                }
            guard mustBe else {
                encoded.unicodeScalars.append(scalar)
                continue
            }
            for byte in String(scalar).utf8 {
                let digits = String(byte, radix: 16, uppercase: true)
                encoded += (byte < 16 ? "%0" : "%") + digits
            }
        }
        return encoded
    }
}

/// What a link is to lead to.
struct LinkDestination: Hashable {
    /// As ``NoteLink/target`` and ``NoteLink/subpath``: decoded.
    var target: String
    var subpath: String
}
