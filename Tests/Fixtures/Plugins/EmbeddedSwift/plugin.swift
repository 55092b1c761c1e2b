// A plugin in Swift that uses the C ABI alone, so that the tests can build it as Embedded Swift, which needs libc only and
// unloads, and with Swift's runtime, which never does. `name`, `version` and the methods' names are in a file that they
// write beside it.
import CKnap

struct Instance {
    let host: UnsafePointer<knap_host_t>
    var count: Int
}

protocol Word { var text: StaticString { get } }
struct Version: Word { var text: StaticString { version } }
/// A conformance more, which only a full runtime keeps a record of.
struct Number: Word { var text: StaticString { "0" } }

private func instance(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<Instance> {
    pointer.unsafelyUnwrapped.assumingMemoryBound(to: Instance.self)
}

private func complete(_ pointer: UnsafeMutableRawPointer?, _ call: knap_call_t, _ body: UnsafeRawBufferPointer) {
    var result = knap_result_t()
    result.size = UInt32(MemoryLayout<knap_result_t>.size)
    result.body = knap_bytes_t(data: body.baseAddress?.assumingMemoryBound(to: UInt8.self), size: UInt64(body.count))
    let host = instance(pointer).pointee.host
    _ = host.pointee.calls.pointee.complete(host, call, &result)
}

private func hook(_ pointer: UnsafeMutableRawPointer?, _ call: knap_call_t) {
    complete(pointer, call, UnsafeRawBufferPointer(start: nil, count: 0))
}

private func say<W: Word>(_ word: W, _ pointer: UnsafeMutableRawPointer?, _ call: knap_call_t) {
    let text = word.text
    complete(pointer, call, UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
}

private func serveVersion(_ pointer: UnsafeMutableRawPointer?, _ request: UnsafePointer<knap_request_t>?) {
    guard let request else { return }
    say(Version(), pointer, request.pointee.call)
}

private func serveAdd(_ pointer: UnsafeMutableRawPointer?, _ request: UnsafePointer<knap_request_t>?) {
    guard let request else { return }
    instance(pointer).pointee.count += 1
    // Decimal digits, from the right, in memory that is allocated and freed.
    var digits = [UInt8](repeating: 48, count: 20)
    var (rest, at) = (instance(pointer).pointee.count, 19)
    while rest > 0 {
        digits[at] = UInt8(48 + rest % 10)
        (rest, at) = (rest / 10, at - 1)
    }
    digits[(at + 1)...].withUnsafeBytes { complete(pointer, request.pointee.call, $0) }
}

private func create(_ host: UnsafePointer<knap_host_t>?, _ made: UnsafeMutablePointer<UnsafeMutableRawPointer?>?) -> knap_status_t {
    guard let host, let made else { return 3 }
    let memory = UnsafeMutablePointer<Instance>.allocate(capacity: 1)
    memory.initialize(to: Instance(host: host, count: 0))
    made.pointee = UnsafeMutableRawPointer(memory)
    return 0
}

private func destroy(_ pointer: UnsafeMutableRawPointer?) { pointer?.assumingMemoryBound(to: Instance.self).deallocate() }

private func save(_ pointer: UnsafeMutableRawPointer?, _ out: UnsafePointer<knap_writer_t>?) -> knap_status_t {
    guard let out else { return 3 }
    withUnsafeBytes(of: &instance(pointer).pointee.count) { bytes in
        let body = knap_bytes_t(data: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), size: UInt64(bytes.count))
        out.pointee.write(out.pointee.context, body)
    }
    return 0
}

private func load(_ pointer: UnsafeMutableRawPointer?, _ state: knap_bytes_t) -> knap_status_t {
    guard let data = state.data, state.size == UInt64(MemoryLayout<Int>.size) else { return 9 }
    instance(pointer).pointee.count = UnsafeRawPointer(data).loadUnaligned(as: Int.self)
    return 0
}

private func isState(_ id: UnsafePointer<CChar>?) -> Bool {
    let state: StaticString = "knap.state/1"
    guard let id else { return false }
    for at in 0...state.utf8CodeUnitCount where UInt8(bitPattern: id[at]) != state.utf8Start[at] { return false }
    return true
}

private func text(_ string: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(string.utf8Start).assumingMemoryBound(to: CChar.self)
}

private func method(
    _ name: StaticString, _ call: @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<knap_request_t>?) -> Void
) -> UnsafePointer<knap_method_t> {
    let memory = UnsafeMutablePointer<knap_method_t>.allocate(capacity: 1)
    memory.initialize(to: knap_method_t(size: UInt32(MemoryLayout<knap_method_t>.size), reserved: 0, name: text(name), call: call))
    return UnsafePointer(memory)
}

/// Made once for each time that the library is loaded, as is the table after it; freed by nobody, 200 bytes.
nonisolated(unsafe) private var state: UnsafePointer<knap_plugin_state_t>?
nonisolated(unsafe) private var table: UnsafePointer<knap_plugin_t>?

@c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? {
    if let table { return table }
    let methods = UnsafeMutablePointer<UnsafePointer<knap_method_t>?>.allocate(capacity: 2)
    (methods + 0).initialize(to: method(versionMethod) { serveVersion($0, $1) })
    (methods + 1).initialize(to: method(addMethod) { serveAdd($0, $1) })
    let handoff = UnsafeMutablePointer<knap_plugin_state_t>.allocate(capacity: 1)
    handoff.initialize(
        to: knap_plugin_state_t(
            size: UInt32(MemoryLayout<knap_plugin_state_t>.size), schema: 1, save: { save($0, $1) }, load: { load($0, $2) }))
    state = UnsafePointer(handoff)
    let made = UnsafeMutablePointer<knap_plugin_t>.allocate(capacity: 1)
    made.initialize(
        to: knap_plugin_t(
            size: UInt32(MemoryLayout<knap_plugin_t>.size), method_count: 2, name: text(name), version: text(plainVersion),
            methods: methods, create: { create($0, $1) }, prepare: { hook($0, $1) }, activate: { hook($0, $1) },
            suspend: { hook($0, $1) }, destroy: { destroy($0) }, extension: { isState($1) ? UnsafeRawPointer(state) : nil }))
    table = UnsafePointer(made)
    return table
}
