import KnapPlugin

/// Finds links, tags and references to footnotes in the prose of a note; Obsidian's inline layer.
struct InlineScanner {
    private let text: TextLines
    private(set) var links: [NoteLink] = []
    private(set) var tags: [NoteTag] = []
    private(set) var footnoteReferences: [Footnote] = []
    private var inComment = false
    private var unclosed = Unclosed()

    /// What is known not to close in the rest of a line, so that none of it is looked for twice.
    private struct Unclosed {
        /// Runs of backticks by their lengths, as bits.
        var code: UInt64 = 0
        var math = false
        var doubleMath = false
        var tag = false
    }

    init(_ text: TextLines) { self.text = text }

    /// What is open at the end of a paragraph ends there (CommonMark §6).
    mutating func endParagraph() { inComment = false }

    /// One line's prose, from `start` on.
    mutating func scan(line: Int, from start: Int) {
        let end = text.lines[line].upperBound
        let bytes = text.bytes
        unclosed = Unclosed()
        var at = start
        var canTag = true
        while at < end {
            let byte = bytes[at]
            if inComment {
                if matches("-->", at, end) {
                    inComment = false
                    at += 3
                } else { at += 1 }
                continue
            }
            var next = at + 1
            var tagNext = false
            switch byte {
            case UInt8(ascii: "\\"):
                next = min(at + 2, end)
                tagNext = true
            case UInt8(ascii: "`"):
                next = behindCode(at, end)
                tagNext = true
            case UInt8(ascii: "$"): next = behindMath(at, end)
            case UInt8(ascii: "<"):
                if matches("<!--", at, end) {
                    inComment = true
                    next = at + 4
                } else if let behind = behindTag(at, end) {
                    next = behind
                    tagNext = true
                }
            case UInt8(ascii: "!") where matches("![[", at, end):
                if let link = wikilink(at, end, line) {
                    links.append(link)
                    next = link.range.upperBound
                    tagNext = true
                }
            case UInt8(ascii: "!") where at + 1 < end && bytes[at + 1] == UInt8(ascii: "["):
                if let link = markdownLink(at, end, line) {
                    links.append(link)
                    next = link.range.upperBound
                    tagNext = true
                }
            case UInt8(ascii: "["):
                if let link = matches("[[", at, end) ? wikilink(at, end, line) : markdownLink(at, end, line) {
                    links.append(link)
                    next = link.range.upperBound
                    tagNext = true
                } else if matches("[^", at, end), let reference = footnote(at, end, line) {
                    footnoteReferences.append(reference)
                    next = reference.range.upperBound
                    tagNext = true
                }
            case UInt8(ascii: "#") where canTag:
                if let tag = tag(at, end, line) {
                    tags.append(tag)
                    next = tag.range.upperBound
                }
            case UInt8(ascii: "*"), UInt8(ascii: "_"), UInt8(ascii: "="), UInt8(ascii: "~"): tagNext = true
            case 0x20, 0x09: tagNext = true
            default: tagNext = isWideSpace(at, end)
            }
            canTag = tagNext
            at = next
        }
    }

    // MARK: What hides links

    private mutating func behindCode(_ at: Int, _ end: Int) -> Int {
        let count = text.bytes[at..<end].prefix { $0 == UInt8(ascii: "`") }.count
        var place = at + count
        let bit: UInt64 = count < 64 ? 1 << count : 0
        if unclosed.code & bit != 0 { return place }
        while place < end {
            guard text.bytes[place] == UInt8(ascii: "`") else {
                place += 1
                continue
            }
            let run = text.bytes[place..<end].prefix { $0 == UInt8(ascii: "`") }.count
            if run == count { return place + run }
            place += run
        }
        unclosed.code |= bit
        return at + count
    }

    /// `$x$` opens before and closes behind something that is not a blank; `$$x$$` closes with two.
    private mutating func behindMath(_ at: Int, _ end: Int) -> Int {
        let double = at + 1 < end && text.bytes[at + 1] == UInt8(ascii: "$")
        let open = at + (double ? 2 : 1)
        guard open < end, double || text.bytes[open] != 0x20 else { return at + 1 }
        if double ? unclosed.doubleMath : unclosed.math { return open }
        var place = open
        while place < end {
            if text.bytes[place] == UInt8(ascii: "\\") {
                place += 2
                continue
            }
            if text.bytes[place] == UInt8(ascii: "$"), place > open {
                if double { if matches("$$", place, end) { return place + 2 } }
                else if text.bytes[place - 1] != 0x20, place + 1 >= end || !(0x30...0x39).contains(text.bytes[place + 1]) { return place + 1 }
            }
            place += 1
        }
        if double { unclosed.doubleMath = true } else { unclosed.math = true }
        return open
    }

    /// An inline HTML tag; what is between tags is prose.
    private mutating func behindTag(_ at: Int, _ end: Int) -> Int? {
        guard at + 1 < end, !unclosed.tag else { return nil }
        let next = text.bytes[at + 1]
        guard (0x61...0x7A).contains(next | 0x20) || next == UInt8(ascii: "/") else { return nil }
        let close = text.bytes[at..<end].firstIndex(of: UInt8(ascii: ">"))
        unclosed.tag = close == nil
        return close.map { $0 + 1 }
    }

    // MARK: Links

    /// The innermost: `[[a [[b]] c]]` holds only `b`.
    private func wikilink(_ at: Int, _ end: Int, _ line: Int) -> NoteLink? {
        let isEmbed = text.bytes[at] == UInt8(ascii: "!")
        let open = at + (isEmbed ? 3 : 2)
        var place = open
        while place < end {
            if matches("[[", place, end) { return nil }
            if matches("]]", place, end) { break }
            place += 1
        }
        guard place < end, place > open else { return nil }
        let content = text.text(open..<place)
        guard let parts = LinkText.split(content) else { return nil }
        return NoteLink(
            kind: isEmbed ? .embed : .wikilink, target: parts.target, subpath: parts.subpath, display: parts.display,
            original: text.text(at..<(place + 2)), range: at..<(place + 2), line: line)
    }

    /// `[text](target)` and `![text](target)` to a file of the vault; a bare space is no link.
    private func markdownLink(_ at: Int, _ end: Int, _ line: Int) -> NoteLink? {
        let isEmbed = text.bytes[at] == UInt8(ascii: "!")
        let open = at + (isEmbed ? 2 : 1)
        guard let close = text.closing(UInt8(ascii: "["), UInt8(ascii: "]"), open, end), close + 1 < end,
            text.bytes[close + 1] == UInt8(ascii: "("),
            let last = text.closing(UInt8(ascii: "("), UInt8(ascii: ")"), close + 2, end)
        else { return nil }
        var destination = text.text((close + 2)..<last)
        if destination.hasPrefix("<"), let angle = destination.firstIndex(of: ">") {
            destination = String(destination[destination.index(after: destination.startIndex)..<angle])
        } else if let space = destination.firstIndex(where: \.isWhitespace) {
            // A title in quotes may follow; anything else means that this is no link.
            let title = destination[space...].drop(while: \.isWhitespace)
            guard title.first == "\"" || title.first == "'" || title.first == "(" else { return nil }
            destination = String(destination[..<space])
        }
        guard !destination.isEmpty, !LinkText.isExternal(destination), let decoded = PercentEncoding.decode(destination.utf8) else { return nil }
        let hash = decoded.firstIndex(of: "#") ?? decoded.endIndex
        return NoteLink(
            kind: isEmbed ? .markdownEmbed : .markdown, target: String(decoded[..<hash].trimmed),
            subpath: String(decoded[hash...]), display: text.text(open..<close), original: text.text(at..<(last + 1)),
            range: at..<(last + 1), line: line)
    }

    // MARK: Tags and footnotes

    private func tag(_ at: Int, _ end: Int, _ line: Int) -> NoteTag? {
        // White space ends it in any case.
        let word = text.bytes[(at + 1)..<end].prefix { $0 != 0x20 && $0 != 0x09 && $0 != UInt8(ascii: "#") }
        let name = String(String(decoding: word, as: UTF8.self).unicodeScalars.prefix { TagRule.allows($0) })
        guard name.unicodeScalars.contains(where: { !("0"..."9").contains($0) }) else { return nil }
        return NoteTag(name: name, range: at..<(at + 1 + name.utf8.count), line: line)
    }

    private func footnote(_ at: Int, _ end: Int, _ line: Int) -> Footnote? {
        guard let close = text.bytes[at..<min(end, at + TextLines.longestPart)].firstIndex(of: UInt8(ascii: "]")), close > at + 2
        else { return nil }
        let id = text.bytes[(at + 2)..<close]
        guard !id.contains(where: { $0 == 0x20 || $0 == 0x09 || $0 == UInt8(ascii: "[") }) else { return nil }
        return Footnote(id: String(decoding: id, as: UTF8.self), range: at..<(close + 1), line: line)
    }

    private func matches(_ string: StaticString, _ at: Int, _ end: Int) -> Bool {
        let count = string.utf8CodeUnitCount
        guard at + count <= end else { return false }
        return (0..<count).allSatisfy { text.bytes[at + $0] == string.utf8Start[$0] }
    }

    /// The last byte of U+00A0 or U+3000, before which a tag may not stand but behind which it may.
    private func isWideSpace(_ at: Int, _ end: Int) -> Bool {
        (text.bytes[at] == 0xA0 && at > 0 && text.bytes[at - 1] == 0xC2)
            || (text.bytes[at] == 0x80 && at > 1 && text.bytes[at - 1] == 0x80 && text.bytes[at - 2] == 0xE3)
    }
}

/// Which characters a tag may have.
enum TagRule {
    static func allows(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x2000...0x206F, 0x2E00...0x2E7F: false
        case 0..<0x80: scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "_-/".unicodeScalars.contains(scalar)
        default: !scalar.properties.isWhitespace
        }
    }
}

/// The inside of `[[…]]`, taken apart.
enum LinkText {
    static func split(_ content: String) -> (target: String, subpath: String, display: String?)? {
        var body = content[...]
        var display: String?
        // A bar in the first place belongs to the target.
        if let bar = content.dropFirst().firstIndex(of: "|") {
            display = String(content[content.index(after: bar)...].trimmed)
            body = content[..<bar]
            if body.hasSuffix("\\") { body = body.dropLast() }  // as it is written in tables
        }
        let hash = body.firstIndex(of: "#") ?? body.endIndex
        let target = String(body[..<hash].trimmed)
        let subpath = String(body[hash...].trimmed)
        if target.isEmpty, subpath.isEmpty { return nil }
        return (target, subpath, display)
    }

    /// A URI with a scheme, which leads out of the vault.
    static func isExternal(_ destination: String) -> Bool {
        guard let colon = destination.firstIndex(of: ":") else { return destination.hasPrefix("//") }
        let scheme = destination[..<colon]
        return scheme.count > 1 && scheme.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) }
    }
}
