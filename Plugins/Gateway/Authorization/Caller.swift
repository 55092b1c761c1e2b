import KnapJSON

/// Who makes a request, and what they may use.
package struct Caller: Sendable {
    /// What an access token allows, and how more is asked for.
    struct Access: Sendable {
        var granted: Set<String>
        var policy: ScopePolicy
        /// Where clients read of the issuer and the scopes (RFC 9728).
        var metadata: String
    }

    /// On whose behalf plugins are called, and whose sessions and tasks are seen.
    package let principal: String
    /// Nil for those who may use everything: the operator's own clients.
    private let access: Access?

    /// A caller who may use everything.
    package init(principal: String) {
        self.principal = principal
        access = nil
    }

    init(principal: String, access: Access) {
        self.principal = principal
        self.access = access
    }

    package func may(_ use: Use) -> Bool { access.map { $0.policy.allows(use, with: $0.granted) } ?? true }

    package func may(_ tool: Tool) -> Bool { may(.tool(tool)) }

    /// Throws unless the caller may use it. Over HTTP the error becomes 403 with a challenge (RFC 6750, section 3.1).
    package func demand(_ use: Use) throws(RPCError) {
        guard let access, !access.policy.allows(use, with: access.granted) else { return }
        let all = access.policy.names(wanted: use, besides: access.granted)
        throw .insufficientScope(
            for: use, needed: access.policy.scope(for: use), all: all, metadata: access.metadata)
    }
}

/// What a scope can cover.
package enum Use: Sendable {
    case tool(Tool)
    case resources
    case prompts
    /// The routes that plugins contribute.
    case routes
}

extension RPCError {
    fileprivate static func insufficientScope(
        for use: Use, needed: String?, all: [String], metadata: String
    ) -> RPCError {
        let what =
            switch use {
            case .tool(let tool): "The tool \(tool.name)"
            case .resources: "Reading resources"
            case .prompts: "Using prompts"
            case .routes: "Calling this"
            }
        let reason =
            needed.map { "needs the scope \($0), which the token does not have" } ?? "is not covered by any scope"
        return RPCError(
            .insufficientScope, "\(what) \(reason).",
            data: ["scopes": .array(all.map(JSON.string)), "resource_metadata": .string(metadata)])
    }

    /// What an HTTP answer says besides the error; nil where more scopes would not help.
    var challenge: Challenge? {
        guard code == .insufficientScope else { return nil }
        let scopes = (data?["scopes"]?.arrayValue ?? []).compactMap(\.stringValue)
        return Challenge(
            metadata: data?["resource_metadata"]?.stringValue, scopes: scopes, error: "insufficient_scope",
            description: message)
    }
}
