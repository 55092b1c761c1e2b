import AsyncHTTPClient
import KnapJSON
import NIOCore

/// Reads an issuer's keys over HTTP.
struct IssuerClient: Sendable {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let issuer: Issuer

    /// Far more than a set of keys or a metadata document has.
    private static let maximumBytes = 256 * 1024
    /// For all that is read at once: a request waits for it.
    private static let patience = Duration.seconds(10)

    func keys() async throws -> VerificationKeys {
        try await withThrowingTaskGroup(of: VerificationKeys.self) { group in
            // A client of its own: this is minutes apart, and nothing stays open between.
            group.addTask {
                try await HTTPClient.withHTTPClient(configuration: Self.configuration) { try await read(by: $0) }
            }
            group.addTask {
                try await Task.sleep(for: Self.patience)
                throw Failure(
                    description: "\(issuer.identifier) took longer than \(Self.patience.components.seconds) seconds")
            }
            defer { group.cancelAll() }
            guard let keys = try await group.next() else { throw CancellationError() }
            return keys
        }
    }

    /// Nothing is followed elsewhere: the keys are where the issuer says, or nowhere.
    private static var configuration: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.httpVersion = .http1Only
        // Whoever waits is told so at once, and may try again.
        configuration.connectionPool.retryConnectionEstablishment = false
        return configuration
    }

    private func read(by client: HTTPClient) async throws -> VerificationKeys {
        let address: String
        if let given = issuer.keysAddress { address = given } else { address = try await discover(by: client) }
        guard let set = try await document(address, by: client), set["keys"]?.arrayValue != nil else {
            throw Failure(description: "\(address) is not a JWK Set")
        }
        let keys = await VerificationKeys(set)
        guard keys.count > 0 else {
            throw Failure(description: "\(address) has no public key of RSA, EC or Ed25519 for signatures")
        }
        return keys
    }

    private func discover(by client: HTTPClient) async throws -> String {
        for address in issuer.metadataAddresses {
            guard let metadata = try await document(address, by: client) else { continue }
            // Else anybody's metadata could be passed off as the issuer's (RFC 8414, section 3.3).
            guard metadata["issuer"]?.stringValue == issuer.identifier else {
                let other = metadata["issuer"]?.serialized() ?? "which it does not name"
                throw Failure(description: "\(address) is of another issuer, \(other)")
            }
            guard let keys = metadata["jwks_uri"]?.stringValue, Issuer.isSafe(keys) else {
                throw Failure(description: "\(address) names no jwks_uri with https")
            }
            return keys
        }
        let addresses = issuer.metadataAddresses.joined(separator: ", ")
        throw Failure(description: "\(issuer.identifier) has no metadata at \(addresses)")
    }

    /// Nil where there is none.
    private func document(_ address: String, by client: HTTPClient) async throws -> JSON? {
        var request = HTTPClientRequest(url: address)
        request.headers.add(name: "Accept", value: "application/json")
        do {
            let response = try await client.execute(request, timeout: .seconds(5))
            guard response.status.code != 404 else { return nil }
            guard response.status.code == 200 else {
                throw Failure(description: "\(address) answered with status \(response.status.code)")
            }
            return try JSON.parse(Array(buffer: try await response.body.collect(upTo: Self.maximumBytes)))
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(description: "\(address) cannot be read: \(error)")
        }
    }
}
