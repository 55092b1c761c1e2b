import CKnap

/// The answer of an `.inline` method, given before the method returns and at most once.
///
/// Nothing is copied or allocated: the host reads the bytes while `succeed` runs. A method that returns without having
/// answered has succeeded with an empty body.
@frozen public struct InlineReply: ~Copyable {
    @usableFromInline let calls: UnsafePointer<knap_calls_t>
    @usableFromInline let host: UnsafePointer<knap_host_t>
    @usableFromInline let call: knap_call_t
    @usableFromInline var hasAnswered = false

    @inlinable @inline(__always)
    init(calls: UnsafePointer<knap_calls_t>, host: UnsafePointer<knap_host_t>, call: knap_call_t) {
        self.calls = calls
        self.host = host
        self.call = call
    }

    /// Answers with bytes, borrowed for the time of this function.
    @inlinable
    public mutating func succeed(_ body: UnsafeRawBufferPointer, contentType: StaticString = "") {
        var result = knap_result_t()
        result.body = knap_bytes_t(
            data: body.baseAddress?.assumingMemoryBound(to: UInt8.self), size: UInt64(body.count))
        result.content_type = Self.text(contentType)
        answer(&result)
    }

    /// Answers with a failure.
    @inlinable
    public mutating func fail(_ code: StatusCode, _ message: StaticString) {
        var result = knap_result_t()
        result.status = code.rawValue
        result.message = Self.text(message)
        answer(&result)
    }

    @inlinable
    mutating func answer(_ result: inout knap_result_t) {
        precondition(!hasAnswered, "An inline method answered twice.")
        hasAnswered = true
        result.size = UInt32(MemoryLayout<knap_result_t>.size)
        _ = calls.pointee.complete.unsafelyUnwrapped(host, call, &result)  // No function pointer in a table is null.
    }

    /// OK with an empty body, unless the method has answered.
    @inlinable @inline(__always)
    mutating func finish() {
        guard !hasAnswered else { return }
        hasAnswered = true
        _ = calls.pointee.complete.unsafelyUnwrapped(host, call, nil)  // As above.
    }

    @inlinable
    static func text(_ string: StaticString) -> knap_text_t {
        // A one-scalar StaticString may have no pointer; the empty text stands for it.
        guard string.hasPointerRepresentation else { return knap_text_t() }
        let data = UnsafeRawPointer(string.utf8Start).assumingMemoryBound(to: CChar.self)
        return knap_text_t(data: data, size: UInt64(string.utf8CodeUnitCount))
    }
}
