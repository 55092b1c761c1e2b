/// The server as an OAuth 2.1 resource server: whose tokens it takes, and for what.
package struct OAuth: Sendable {
    let verifier: TokenVerifier
    let policy: ScopePolicy
    /// What tokens must be for; nil: the address that the server is reached at.
    let audience: String?
    /// Whether the static token is taken too.
    let acceptsStaticToken: Bool

    package init(
        verifier: TokenVerifier, policy: ScopePolicy = .standard, audience: String? = nil,
        acceptsStaticToken: Bool = true
    ) {
        self.verifier = verifier
        self.policy = policy
        self.audience = audience
        self.acceptsStaticToken = acceptsStaticToken
    }
}
