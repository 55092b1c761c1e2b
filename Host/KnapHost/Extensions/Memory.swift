import CKnap

/// Puts a table of the ABI where it stays for as long as the process: plugins keep the pointer.
func permanent<T>(_ table: T) -> UnsafePointer<T> {
    let place = UnsafeMutablePointer<T>.allocate(capacity: 1)
    place.initialize(to: table)
    return UnsafePointer(place)
}

extension String {
    /// Copies text of the ABI; what is not UTF-8 is replaced.
    init(text: knap_text_t) {
        self.init(
            decoding: UnsafeRawBufferPointer(start: text.data, count: text.data == nil ? 0 : Int(clamping: text.size)),
            as: UTF8.self)
    }
}

extension knap_writer_t {
    /// Hands bytes to whoever asked for them.
    func put(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { write(context, knap_bytes_t(data: $0.baseAddress, size: UInt64($0.count))) }
    }

    func put(_ text: String) { put(Array(text.utf8)) }
}

/// The size of a table, as its first field wants it.
func size<T>(of type: T.Type) -> UInt32 { UInt32(MemoryLayout<T>.size) }
