/// A dated revision of the Model Context Protocol.
package enum Revision: String, Sendable, Hashable, CaseIterable, Comparable {
    case november2024 = "2024-11-05"
    case march2025 = "2025-03-26"
    case june2025 = "2025-06-18"
    case november2025 = "2025-11-25"
    case july2026 = "2026-07-28"

    /// Whether requests carry their version and the client's capabilities themselves; the specification calls the
    /// revisions before it legacy.
    package var isModern: Bool { self >= .july2026 }

    package static let newestLegacy = Revision.november2025
    package static let modern = Revision.july2026

    /// What `initialize` answers: the date that was asked for where it is one of the handshake era, else the newest of
    /// that era. 2026-07-28 has no handshake, so it is never echoed.
    package static func negotiated(asked: String?) -> Revision {
        guard let asked, let revision = Revision(rawValue: asked), !revision.isModern else { return newestLegacy }
        return revision
    }

    /// What an HTTP request without `MCP-Protocol-Version` speaks (Streamable HTTP, 2025-06-18 and later).
    package static let assumedWithoutHeader = Revision.march2025

    package static func < (a: Revision, b: Revision) -> Bool { a.rawValue < b.rawValue }
}
