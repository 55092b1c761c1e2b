/// A version as Semantic Versioning 2.0.0 defines it: `MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]`.
///
/// Equality and order are precedence (semver §11), so `1.0.0+a == 1.0.0+b`; `description` keeps the build part.
package struct Version: Sendable, CustomStringConvertible {
    package let major: Int
    package let minor: Int
    package let patch: Int
    package let prerelease: [PrereleaseIdentifier]
    package let build: [String]

    package init(
        _ major: Int, _ minor: Int, _ patch: Int, prerelease: [PrereleaseIdentifier] = [], build: [String] = []
    ) {
        self.major = major
        self.minor = minor
        self.patch = patch
        self.prerelease = prerelease
        self.build = build
    }

    package init(_ text: String) throws(VersionError) {
        var scanner = VersionScanner(text)
        let version = try scanner.version()
        guard scanner.isAtEnd else { throw scanner.failure("nothing may follow the version") }
        self = version
    }

    package var isPrerelease: Bool { !prerelease.isEmpty }

    /// The three numbers alone: what a pre-release of them leads up to.
    var release: Version { Version(major, minor, patch) }

    package var description: String {
        var text = "\(major).\(minor).\(patch)"
        if !prerelease.isEmpty { text += "-" + prerelease.map(\.description).joined(separator: ".") }
        if !build.isEmpty { text += "+" + build.joined(separator: ".") }
        return text
    }
}

/// One dot-separated part of a pre-release; numbers sort below words (semver §11.4).
package enum PrereleaseIdentifier: Sendable, Hashable, Comparable, CustomStringConvertible {
    case number(Int)
    case word(String)

    package var description: String {
        switch self {
        case .number(let value): String(value)
        case .word(let text): text
        }
    }

    package static func < (left: Self, right: Self) -> Bool {
        switch (left, right) {
        case (.number(let a), .number(let b)): a < b
        case (.number, .word): true
        case (.word, .number): false
        case (.word(let a), .word(let b)): a.utf8.lexicographicallyPrecedes(b.utf8)
        }
    }
}

extension Version: Hashable, Comparable {
    package static func == (left: Self, right: Self) -> Bool {
        left.numbers == right.numbers && left.prerelease == right.prerelease
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(major)
        hasher.combine(minor)
        hasher.combine(patch)
        hasher.combine(prerelease)
    }

    package static func < (left: Self, right: Self) -> Bool {
        if left.numbers != right.numbers { return left.numbers < right.numbers }
        if left.prerelease.isEmpty || right.prerelease.isEmpty {
            return !left.prerelease.isEmpty && right.prerelease.isEmpty
        }
        return left.prerelease.lexicographicallyPrecedes(right.prerelease)
    }

    var numbers: (Int, Int, Int) { (major, minor, patch) }
}

/// Why a text is not a version or not a range of versions.
package struct VersionError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable { case invalidVersion, invalidRange }

    package let code: Code
    package let message: String
    package var description: String { message }
}
