import CKnap

// How text and bytes cross the ABI: borrowed for the time of one function.

extension String {
    init(_ text: knap_text_t) {
        self.init(decoding: UnsafeRawBufferPointer(start: text.data, count: Int(text.size)), as: UTF8.self)
    }

    /// The string as the ABI passes text.
    func withText<R, E: Error>(_ body: (knap_text_t) throws(E) -> R) throws(E) -> R {
        var copy = self
        return try copy.withUTF8Text(body)
    }

    private mutating func withUTF8Text<R, E: Error>(_ body: (knap_text_t) throws(E) -> R) throws(E) -> R {
        let result = withUTF8 { utf8 -> Result<R, E> in
            let data = UnsafeRawPointer(utf8.baseAddress)?.assumingMemoryBound(to: CChar.self)
            do throws(E) {
                return .success(try body(knap_text_t(data: data, size: UInt64(utf8.count))))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

extension [UInt8] {
    init(_ bytes: knap_bytes_t) {
        self.init(UnsafeBufferPointer(start: bytes.data, count: Int(bytes.size)))
    }

    /// The array as the ABI passes bytes.
    func withBytes<R>(_ body: (knap_bytes_t) -> R) -> R {
        withUnsafeBufferPointer { body(knap_bytes_t(data: $0.baseAddress, size: UInt64($0.count))) }
    }

    /// Gathers what a host function writes; `action` completes "The host refused to …".
    static func written(
        _ action: @autoclosure () -> String, by body: (UnsafePointer<knap_writer_t>) -> knap_status_t
    ) throws(PluginError) -> [UInt8] {
        var bytes: [UInt8] = []
        let status = withUnsafeMutablePointer(to: &bytes) { bytes in
            var writer = knap_writer_t(context: bytes) { context, piece in
                context?.assumingMemoryBound(to: [UInt8].self).pointee
                    .append(contentsOf: UnsafeBufferPointer(start: piece.data, count: Int(piece.size)))
            }
            return body(&writer)
        }
        try PluginError.check(status, action())
        return bytes
    }
}

extension UnsafePointer<knap_writer_t> {
    /// Hands bytes to the host.
    func write(_ bytes: [UInt8]) {
        bytes.withBytes { pointee.write?(pointee.context, $0) }
    }
}
