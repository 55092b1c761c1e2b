import CKnap

/// Connections through the host's broker: it checks the grant, resolves, connects and hands the descriptor over.
///
/// Works in a sandbox, where a plugin cannot resolve or connect itself.
public struct Network: Sendable {
    let link: HostLink

    /// Connects over TCP. The descriptor is non-blocking, close-on-exec and the caller's to close.
    public func connect(to name: String, port: UInt16, deadline: Deadline? = nil) async throws(PluginError) -> Int32 {
        let result = await withUnsafeContinuation { continuation in
            let context = Unmanaged.passRetained(Connecting(continuation))
            do throws(PluginError) {
                try link.use(link.extensions.network, KNAP_EXT_NET) { host, table throws(PluginError) in
                    let status = name.withText {
                        table.connect(host, $0, port, deadline?.nanoseconds ?? 0, Connecting.done, context.toOpaque())
                    }
                    try PluginError.check(status, "connect to \(name):\(port)")
                }
            } catch {
                // Refused, so `done` will not run.
                context.takeRetainedValue().continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }
}

/// A connection being made; the host gives it back with `done`.
private final class Connecting: Sendable {
    typealias Outcome = Result<Int32, PluginError>

    let continuation: UnsafeContinuation<Outcome, Never>
    init(_ continuation: UnsafeContinuation<Outcome, Never>) { self.continuation = continuation }

    static let done: @convention(c) (UnsafeMutableRawPointer?, knap_status_t, Int32, knap_text_t) -> Void = {
        context, status, descriptor, message in
        guard let context else { return }
        let connecting = Unmanaged<Connecting>.fromOpaque(context).takeRetainedValue()
        if let code = StatusCode(status: status) {
            connecting.continuation.resume(returning: .failure(PluginError(code: code, message: String(message))))
        } else {
            connecting.continuation.resume(returning: .success(descriptor))
        }
    }
}
