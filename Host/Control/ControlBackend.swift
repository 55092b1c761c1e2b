import KnapJSON

/// What the control socket gives access to: the host implements it.
package protocol ControlBackend: Sendable {
    /// Serves one call. The task is cancelled when the client leaves.
    ///
    /// - Parameters:
    ///   - method: "service.method".
    ///   - onItem: what the call delivers before its answer; it returns when the client has room for more.
    func call(
        _ method: String, input: JSON, deadlineMS: Int?, onItem: @escaping @Sendable (ControlItem) async -> Void
    ) async -> ControlReply

    /// Opens a call whose items are raw bytes both ways.
    func attach(_ method: String, input: JSON) async throws(ControlFailure) -> any ByteDuplex
}

/// Bytes both ways between an attached client and the call that serves it.
package protocol ByteDuplex: Sendable {
    /// What the call sent next, in chunks of any length; nil when it has ended. Asked for by one task at a time.
    func receive() async throws -> [UInt8]?
    /// Hands the client's bytes to the call; returns when it has room for more. By one task at a time.
    func send(_ bytes: [UInt8]) async throws
    /// The client will send no more; the call may still answer.
    func finishSending() async
    /// The client is gone.
    func cancel()
}
