/// Reads versions and the pieces of ranges from ASCII text, one character at a time.
struct VersionScanner {
    private let text: String
    private let bytes: [UInt8]
    private var offset = 0
    var code = VersionError.Code.invalidVersion

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    var isAtEnd: Bool { offset == bytes.count }
    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    mutating func skip(_ prefix: StaticString) -> Bool {
        let end = offset + prefix.utf8CodeUnitCount
        guard end <= bytes.count else { return false }
        let matches = prefix.withUTF8Buffer { bytes[offset..<end].elementsEqual($0) }
        if matches { offset = end }
        return matches
    }

    mutating func skipSpaces() { while next == UInt8(ascii: " ") { offset += 1 } }

    /// `1.2.3-rc.1+build`, every part as semver's grammar has it.
    mutating func version() throws(VersionError) -> Version {
        let major = try number()
        try expectDot(after: "major")
        let minor = try number()
        try expectDot(after: "minor")
        let patch = try number()
        let tail = try labels()
        return Version(major, minor, patch, prerelease: tail.prerelease, build: tail.build)
    }

    /// The pre-release and build parts, either of which may be absent.
    mutating func labels() throws(VersionError) -> (prerelease: [PrereleaseIdentifier], build: [String]) {
        var prerelease: [PrereleaseIdentifier] = []
        var build: [String] = []
        if skip("-") {
            repeat { prerelease.append(try prereleaseIdentifier()) } while skip(".")
        }
        if skip("+") {
            repeat { build.append(try identifier()) } while skip(".")
        }
        return (prerelease, build)
    }

    mutating func number() throws(VersionError) -> Int {
        let start = offset
        while let byte = next, Self.isDigit(byte) { offset += 1 }
        guard offset > start else { throw failure("a number is expected") }
        guard offset - start == 1 || bytes[start] != UInt8(ascii: "0") else {
            throw failure("a number has no leading zero")
        }
        guard let value = Int(String(decoding: bytes[start..<offset], as: UTF8.self)) else {
            throw failure("the number is too large")
        }
        return value
    }

    func failure(_ reason: String) -> VersionError {
        let kind = code == .invalidVersion ? "a version (MAJOR.MINOR.PATCH, semver 2.0)" : "a range of versions"
        return VersionError(
            code: code, message: "'\(text)' is not \(kind): \(reason) at character \(offset + 1)")
    }

    private mutating func expectDot(after part: String) throws(VersionError) {
        guard skip(".") else { throw failure("a '.' is expected after the \(part) number") }
    }

    private mutating func prereleaseIdentifier() throws(VersionError) -> PrereleaseIdentifier {
        let start = offset
        let word = try identifier()
        guard word.utf8.allSatisfy(Self.isDigit) else { return .word(word) }
        offset = start
        return .number(try number())
    }

    private mutating func identifier() throws(VersionError) -> String {
        let start = offset
        while let byte = next, Self.isIdentifier(byte) { offset += 1 }
        guard offset > start else { throw failure("a label of letters, digits and '-' is expected") }
        return String(decoding: bytes[start..<offset], as: UTF8.self)
    }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private static func isIdentifier(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte == UInt8(ascii: "-")
            || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
    }
}
