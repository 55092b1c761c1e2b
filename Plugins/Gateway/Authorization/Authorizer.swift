import HTTPTypes
import KnapJSON

/// Finds out on whose behalf a request is made.
package struct Authorizer: Sendable {
    enum Admission: Sendable {
        case caller(Caller)
        case refused(Answer)
    }

    let access: HTTPAccess
    /// Nil where there is only the static token.
    let oauth: OAuth?

    /// Whoever shows the static token.
    package static let tokenHolder = Caller(principal: "mcp-http")

    func admit(_ request: HTTPRequest, at address: ServerAddress) async -> Admission {
        let token = request.headerFields[.authorization].flatMap(HTTPAccess.bearer)
        if let token, oauth?.acceptsStaticToken ?? true, access.matches(token) { return .caller(Self.tokenHolder) }
        if let token, oauth?.acceptsStaticToken ?? true, let name = access.name(of: token) {
            return .caller(Caller(principal: "token:\(name)"))
        }
        guard let oauth else {
            let challenge = Challenge(error: token == nil ? nil : "invalid_token")
            return .refused(Self.unauthorized(challenge, token == nil ? "A token is needed." : "The token is wrong."))
        }
        let metadata = address.metadataURL(for: request)
        guard let token else {
            let challenge = Challenge(metadata: metadata, scopes: oauth.policy.names)
            return .refused(Self.unauthorized(challenge, "A token is needed."))
        }
        do throws(TokenVerifier.Denial) {
            let grant = try await oauth.verifier.grant(of: token, for: oauth.audience.map { [$0] } ?? address.resources)
            let access = Caller.Access(granted: grant.scopes, policy: oauth.policy, metadata: metadata)
            return .caller(Caller(principal: grant.principal, access: access))
        } catch {
            switch error {
            case .invalid(let reason):
                let challenge = Challenge(
                    metadata: metadata, scopes: oauth.policy.names, error: "invalid_token", description: reason)
                return .refused(Self.unauthorized(challenge, reason + "."))
            case .unavailable(let reason):
                let answer = "\(reason), so the token cannot be checked. Try again."
                return .refused(.text(answer, status: 503, fields: [(.retryAfter, "15")]))
            }
        }
    }

    private static func unauthorized(_ challenge: Challenge, _ reason: String) -> Answer {
        .text(reason, status: 401, fields: [(.wwwAuthenticate, challenge.header)])
    }

    /// The Protected Resource Metadata (RFC 9728, section 2), which needs no token; nil where there is no issuer.
    func metadata(of request: HTTPRequest, at address: ServerAddress) -> JSON? {
        guard let oauth else { return nil }
        return [
            "resource": .string(address.resource(for: request)),
            "resource_name": "Knap",
            "authorization_servers": [.string(oauth.verifier.issuer.identifier)],
            "scopes_supported": .array(oauth.policy.names.map(JSON.string)),
            "bearer_methods_supported": ["header"],
        ]
    }
}
