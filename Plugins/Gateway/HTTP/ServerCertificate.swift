import Glibc
import NIOPosix
import NIOSSL
import Synchronization

/// The certificate and the key that connections are secured with. New connections get what is in the files then, so
/// that a renewal needs no restart.
package final class ServerCertificate: Sendable {
    package struct Unusable: Error, Sendable {
        package var message: String
    }

    /// Tells whether the files are still those that were read.
    private struct Stamp: Equatable {
        private var numbers: [Int] = []

        init(_ paths: [String]) {
            for path in paths {
                var status = stat()
                guard stat(path, &status) == 0 else { continue }
                numbers += [Int(status.st_ino), Int(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
            }
        }
    }

    private struct State {
        var context: NIOSSLContext
        var stamp: Stamp
        var lookedAt = ContinuousClock.now
    }

    private static let lookInterval = Duration.seconds(1)

    private let certificate: String
    private let key: String
    private let report: @Sendable (String) -> Void
    private let state: Mutex<State>

    /// Reads the files.
    ///
    /// - Parameters:
    ///   - certificate: The path of a PEM file: the server's certificate and those between it and the authority's.
    ///   - key: The path of a PEM file.
    ///   - report: Told why files that changed are not used.
    package init(
        certificate: String, key: String, report: @escaping @Sendable (String) -> Void
    ) async throws(Unusable) {
        self.certificate = certificate
        self.key = key
        self.report = report
        let loaded: Result<(NIOSSLContext, Stamp), Unusable>? = try? await NIOThreadPool.singleton.runIfActive {
            Result { () throws(Unusable) in
                let stamp = Stamp([certificate, key])
                return (try Self.load(certificate, key), stamp)
            }
        }
        guard let loaded else { throw Unusable(message: "The process is ending.") }
        let (context, stamp) = try loaded.get()
        state = Mutex(State(context: context, stamp: stamp))
    }

    /// For a new connection. Never waits: what is found to be new is for the connections after it.
    package func context() -> NIOSSLContext {
        let (context, isDue) = state.withLock { state in
            let now = ContinuousClock.now
            let isDue = now - state.lookedAt > Self.lookInterval
            if isDue { state.lookedAt = now }
            return (state.context, isDue)
        }
        if isDue {
            NIOThreadPool.singleton.submit { workItem in
                if case .active = workItem { self.look() }
            }
        }
        return context
    }

    private func look() {
        let stamp = Stamp([certificate, key])
        guard stamp != state.withLock({ $0.stamp }) else { return }
        let loaded = Result { () throws(Unusable) in try Self.load(certificate, key) }
        state.withLock { state in
            // One that cannot be used is not tried again until it changes.
            state.stamp = stamp
            if case .success(let context) = loaded { state.context = context }
        }
        if case .failure(let error) = loaded { report(error.message) }
    }

    private static func load(_ certificate: String, _ key: String) throws(Unusable) -> NIOSSLContext {
        for (path, setting) in [(certificate, "tls.certificate"), (key, "tls.key")] where access(path, R_OK) != 0 {
            let reason = String(cString: strerror(errno))
            throw Unusable(message: "\(path) cannot be read: \(reason). Set \(setting) to a PEM file.")
        }
        let chain: [NIOSSLCertificate]
        do { chain = try NIOSSLCertificate.fromPEMFile(certificate) } catch {
            throw Unusable(message: "\(certificate) is not a certificate in PEM. Set tls.certificate to one.")
        }
        let secret: NIOSSLPrivateKey
        do { secret = try NIOSSLPrivateKey(file: key, format: .pem) } catch {
            throw Unusable(message: "\(key) is not a private key in PEM without a password. Set tls.key to one.")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(secret))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        // A client that has gone without a word must not hold up the end of the Gateway.
        configuration.shutdownTimeout = .seconds(1)
        do { return try NIOSSLContext(configuration: configuration) } catch {
            throw Unusable(message: "\(key) is not the key of \(certificate): \(error)")
        }
    }
}
