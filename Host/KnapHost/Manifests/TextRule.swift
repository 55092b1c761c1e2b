/// What a kind of text in a manifest must look like, with the words to say so.
///
/// `Manifests/manifest.schema.json` has the same rules as regular expressions; a test holds the two together.
struct TextRule: Sendable {
    /// With its article: `a plugin name`.
    let name: String
    /// What is allowed.
    let explanation: String
    let accepts: @Sendable (String) -> Bool

    static let text = TextRule(name: "a string", explanation: "any text is allowed") { _ in true }

    static let nonEmpty = TextRule(name: "a string", explanation: "it must not be empty") { !$0.isEmpty }

    static let pluginName = TextRule(
        name: "a plugin name",
        explanation: "1 to 63 lower-case letters, digits and '-' from a letter on, or a reverse domain name"
    ) { isWord($0, dashes: true) || isReverseDomain($0) }

    static let service = TextRule(
        name: "a service id",
        explanation: "one lower-case word of letters and digits, or a reverse domain name for services of others"
    ) { isWord($0, dashes: false) || isReverseDomain($0) }

    static let point = TextRule(
        name: "a contribution point", explanation: "one lower-case word of letters and digits, or a reverse domain name"
    ) { isWord($0, dashes: false) || isReverseDomain($0) }

    static let method = TextRule(
        name: "a method name", explanation: "1 to 63 lower-case letters, digits and '_' from a letter on",
        accepts: isMethod)

    static let serviceOrMethod = TextRule(
        name: "a service or a method of one", explanation: "write SERVICE or SERVICE.METHOD"
    ) { text in
        if isWord(text, dashes: false) || isReverseDomain(text) { return true }
        guard let dot = text.lastIndex(of: ".") else { return false }
        let service = String(text[..<dot])
        return (isWord(service, dashes: false) || isReverseDomain(service))
            && isMethod(String(text[text.index(after: dot)...]))
    }

    static let extensionID = TextRule(
        name: "an extension id", explanation: "dotted lower-case words and a revision, such as knap.state/1"
    ) { text in
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = parts[1].utf8.first, first != UInt8(ascii: "0") else { return false }
        guard parts[1].utf8.count <= 6, parts[1].utf8.allSatisfy(isDigit), parts[0].utf8.count <= 128 else {
            return false
        }
        return parts[0].split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
            $0.utf8.first.map(isLetter) == true && $0.utf8.allSatisfy { isLetter($0) || isDigit($0) || isDash($0) }
        }
    }

    static let mediaType = TextRule(
        name: "a media type", explanation: "write TYPE/SUBTYPE, such as application/json"
    ) { text in
        let type = text.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)[0]
        let parts = type.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(isMediaToken) }
            && text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
    }

    static let path = TextRule(
        name: "a path",
        explanation: "write an absolute path, ~/PATH, or config:KEY for the paths in that setting, without '..'"
    ) { text in
        if text.hasPrefix("config:") { return isSetting(text.dropFirst(7)) }
        guard text.hasPrefix("/") || text.hasPrefix("~/"), !text.utf8.contains(0) else { return false }
        return !text.split(separator: "/").contains("..")
    }

    static let endpoint = TextRule(
        name: "an endpoint",
        explanation: "write HOST:PORT; '*' is any host or any port, *.example.org the names below one, [::1]:80 IPv6",
        accepts: isEndpoint)

    static let environmentName = TextRule(
        name: "the name of an environment variable", explanation: "letters, digits and '_', not from a digit on"
    ) { text in
        text.utf8.first.map { isDigit($0) } == false
            && text.utf8.allSatisfy { isLetter($0 | 0x20) || isDigit($0) || $0 == UInt8(ascii: "_") }
    }

    static let language = TextRule(
        name: "a language",
        explanation: "one lower-case word, such as swift, embedded-swift, c, cpp, rust, go or python"
    ) { isWord($0, dashes: true) }
}

// Letters, digits and labels are ASCII on purpose: a name that only looks like another is an attack.
private func isLetter(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") }
private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
private func isDash(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "-") }

private func isWord(_ text: String, dashes: Bool) -> Bool {
    guard let first = text.utf8.first, isLetter(first), text.utf8.count <= 63 else { return false }
    return text.utf8.allSatisfy { isLetter($0) || isDigit($0) || (dashes && isDash($0)) }
}

@Sendable private func isMethod(_ text: String) -> Bool {
    guard let first = text.utf8.first, isLetter(first), text.utf8.count <= 63 else { return false }
    return text.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
}

/// At least two labels of letters, digits and inner dashes, the first from a letter on.
private func isReverseDomain(_ text: String) -> Bool {
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.count >= 2, text.utf8.count <= 128, text.utf8.first.map(isLetter) == true else { return false }
    return labels.allSatisfy { label in
        guard let first = label.utf8.first, let last = label.utf8.last, !isDash(first), !isDash(last) else {
            return false
        }
        return label.utf8.allSatisfy { isLetter($0) || isDigit($0) || isDash($0) }
    }
}

private func isMediaToken(_ byte: UInt8) -> Bool {
    isLetter(byte | 0x20) || isDigit(byte) || "!#$&-^_.+".utf8.contains(byte)
}

private func isSetting(_ text: Substring) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { isLetter($0 | 0x20) || isDigit($0) || "_-.".utf8.contains($0) }
}

@Sendable private func isEndpoint(_ text: String) -> Bool {
    guard let colon = text.lastIndex(of: ":") else { return false }
    let port = text[text.index(after: colon)...]
    guard port == "*" || isPort(port) else { return false }
    let host = text[..<colon]
    if host == "*" { return true }
    if host.hasPrefix("["), host.hasSuffix("]") {
        let address = host.dropFirst().dropLast()
        return !address.isEmpty && address.utf8.allSatisfy { isDigit($0) || "abcdefABCDEF:.".utf8.contains($0) }
    }
    let name = host.hasPrefix("*.") ? host.dropFirst(2) : host
    return !name.isEmpty
        && name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.utf8.allSatisfy { isLetter($0 | 0x20) || isDigit($0) || isDash($0) }
        }
}

/// 1 to 65535, written without zeros before.
private func isPort(_ text: Substring) -> Bool {
    guard text.utf8.count <= 5, text.utf8.allSatisfy(isDigit), let port = Int(text) else { return false }
    return (1...65535).contains(port) && text.utf8.first != UInt8(ascii: "0")
}
