import CKnap

/// One running plugin. Two may live at the same time, so there are no globals.
struct Instance {
    let host: UnsafePointer<knap_host_t>
}

private func instance(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<Instance> {
    // The host passes back what `create` made.
    pointer.unsafelyUnwrapped.assumingMemoryBound(to: Instance.self)
}

/// Ends a call with an answer, or, with a status, with a failure that says what to do.
private func finish(
    _ pointer: UnsafeMutableRawPointer?, _ call: knap_call_t, status: knap_status_t = 0, body: [UInt8] = [],
    message: StaticString = ""
) {
    let host = instance(pointer).pointee.host
    body.withUnsafeBufferPointer { body in
        var result = knap_result_t()
        result.size = UInt32(MemoryLayout<knap_result_t>.size)
        result.status = status
        result.body = knap_bytes_t(data: body.baseAddress, size: UInt64(body.count))
        result.message = knap_text_t(
            data: UnsafeRawPointer(message.utf8Start).assumingMemoryBound(to: CChar.self), size: UInt64(message.utf8CodeUnitCount))
        _ = host.pointee.calls.pointee.complete(host, call, &result)
    }
}

/// The words of a text in UTF-8.
func words(in text: [UInt8]) -> Int {
    var count = 0
    var isInside = false
    for byte in text {
        let isBlank = byte == 0x20 || (9...13).contains(byte)
        if !isBlank && !isInside { count += 1 }
        isInside = !isBlank
    }
    return count
}

/// Serves @service@.count_words. May run on several threads at once; the request lives until this returns.
private func countWords(_ pointer: UnsafeMutableRawPointer?, _ request: UnsafePointer<knap_request_t>?) {
    guard let request else { return }
    let value = knap_json_get(knap_json_parse(request.pointee.body), "text")
    let size = knap_json_text(value, nil, 0)
    guard size >= 0 else {
        return finish(
            pointer, request.pointee.call, status: knap_status_t(KNAP_INVALID_ARGUMENT),
            message: "the argument 'text' must be a text; give the text to count")
    }
    var text = [UInt8](repeating: 0, count: Int(size) + 1)
    text.withUnsafeMutableBytes { _ = knap_json_text(value, $0.baseAddress?.assumingMemoryBound(to: CChar.self), UInt64($0.count)) }
    text.removeLast()
    finish(pointer, request.pointee.call, body: Array("{\"words\":".utf8) + digits(words(in: text)) + Array("}".utf8))
}

private func digits(_ number: Int) -> [UInt8] {
    var digits: [UInt8] = []
    var rest = number
    repeat {
        digits.insert(UInt8(ascii: "0") + UInt8(rest % 10), at: 0)
        rest /= 10
    } while rest > 0
    return digits
}

private func create(
    _ host: UnsafePointer<knap_host_t>?, _ made: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> knap_status_t {
    guard let host, let made else { return knap_status_t(KNAP_INTERNAL) }
    let instance = UnsafeMutablePointer<Instance>.allocate(capacity: 1)
    instance.initialize(to: Instance(host: host))
    made.pointee = UnsafeMutableRawPointer(instance)
    return 0
}

private func hook(_ pointer: UnsafeMutableRawPointer?, _ call: knap_call_t) { finish(pointer, call) }

private func destroy(_ pointer: UnsafeMutableRawPointer?) {
    let made = instance(pointer)
    made.deinitialize(count: 1)
    made.deallocate()
}

private func cString(_ text: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

/// As in manifest.json. Made once and never freed.
private let table: UnsafePointer<knap_plugin_t> = {
    let method = UnsafeMutablePointer<knap_method_t>.allocate(capacity: 1)
    method.initialize(
        to: knap_method_t(
            size: UInt32(MemoryLayout<knap_method_t>.size), reserved: 0, name: cString("@service@.count_words"), call: countWords))
    let methods = UnsafeMutablePointer<UnsafePointer<knap_method_t>?>.allocate(capacity: 1)
    methods.initialize(to: UnsafePointer(method))
    let plugin = UnsafeMutablePointer<knap_plugin_t>.allocate(capacity: 1)
    plugin.initialize(
        to: knap_plugin_t(
            size: UInt32(MemoryLayout<knap_plugin_t>.size), method_count: 1, name: cString("@name@"), version: cString("0.1.0"),
            methods: UnsafePointer(methods), create: create, prepare: hook, activate: hook, suspend: hook, destroy: destroy,
            extension: { _, _ in nil }))
    return UnsafePointer(plugin)
}()

@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { table }
