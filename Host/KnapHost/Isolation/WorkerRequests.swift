import CKnap
import Glibc
import KnapPlugin
import Logging

/// Answers what a plugin in a worker asks of its host: the same that the extension tables do for one in the process, with
/// the same checks.
struct WorkerRequests {
    let process: WorkerProcess
    private var context: InstanceContext { process.context }

    init(process: WorkerProcess) { self.process = process }

    /// False when the request is nonsense.
    func answer(_ operation: ControlChannel.Operation, _ body: inout FrameReader, _ descriptor: Int32) -> Bool {
        switch operation {
        case .log: log(&body)
        case .bind: bind(&body)
        case .describe: text(&body, operation) { context.services.describe($0).serialized() }
        case .registryRead: text(&body, operation) { context.registry.snapshot(of: $0).serialized() }
        case .registryWatch: watch(&body)
        case .registryUnwatch: unwatch(&body)
        case .keep: keep(&body, descriptor)
        case .take: take(&body)
        case .drop: drop(&body)
        case .connect: connect(&body)
        case .connected: connected(&body)
        case .held: held(&body)
        case .start, .loaded, .failed: false
        }
    }

    private func reply(_ operation: ControlChannel.Operation, _ status: Int32, _ body: [UInt8] = []) -> Bool {
        // A worker that does not read its answers is stuck or hostile.
        process.control.send(operation, status: status, body)
    }

    private func log(_ body: inout FrameReader) -> Bool {
        guard let level = body.u32(), let message = body.text(), let count = body.u32(), count <= 256 else { return false }
        var metadata: Logger.Metadata = [:]
        for _ in 0..<count {
            guard let key = body.text(), let value = body.text() else { return false }
            metadata[key] = .string(value)
        }
        context.logger.log(level: LogExtension.logLevel(Int32(clamping: level)), "\(message)", metadata: metadata)
        return true
    }

    private func bind(_ body: inout FrameReader) -> Bool {
        guard let method = body.text(), let range = body.text() else { return false }
        do throws(PluginError) {
            let binding = try context.services.bind(method, range: range, by: context, party: process.party)
            var answer = FrameWriter()
            answer.put(binding)
            return reply(.bind, 0, answer.bytes)
        } catch {
            context.logger.warning("binding refused", metadata: ["reason": "\(error.message)"])
            return reply(.bind, error.code.rawValue)
        }
    }

    private func text(
        _ body: inout FrameReader, _ operation: ControlChannel.Operation, _ make: (String) -> String
    ) -> Bool {
        guard let about = body.text() else { return false }
        return reply(operation, 0, Array(make(about).utf8))
    }

    private func watch(_ body: inout FrameReader) -> Bool {
        guard let point = body.text(), let id = body.u64() else { return false }
        process.watch(point, id)
        return reply(.registryWatch, 0)
    }

    private func unwatch(_ body: inout FrameReader) -> Bool {
        guard let id = body.u64() else { return false }
        process.unwatch(id)
        return reply(.registryUnwatch, 0)
    }

    private func keep(_ body: inout FrameReader, _ descriptor: Int32) -> Bool {
        guard let name = body.text(), descriptor >= 0 else { return false }
        let kept = context.descriptors.keep(descriptor, plugin: context.plugin, name: name)
        return reply(.keep, kept ? 0 : KNAP_INVALID_ARGUMENT.status)
    }

    private func take(_ body: inout FrameReader) -> Bool {
        guard let name = body.text() else { return false }
        guard let taken = context.descriptors.take(plugin: context.plugin, name: name) else {
            return reply(.take, KNAP_NOT_FOUND.status)
        }
        defer { close(taken) }
        return process.control.send(.take, status: 0, [], descriptor: taken)
    }

    private func drop(_ body: inout FrameReader) -> Bool {
        guard let name = body.text() else { return false }
        let dropped = context.descriptors.drop(plugin: context.plugin, name: name)
        return reply(.drop, dropped ? 0 : KNAP_NOT_FOUND.status)
    }

    private func connect(_ body: inout FrameReader) -> Bool {
        guard let name = body.text(), let port = body.u32(), let deadline = body.u64(), let id = body.u64() else {
            return false
        }
        guard let port = UInt16(exactly: port), port != 0 else { return reply(.connect, KNAP_INVALID_ARGUMENT.status) }
        guard NetExtension.isGranted(name, port, to: context) else {
            return reply(.connect, KNAP_PERMISSION_DENIED.status)
        }
        let process = process
        NetExtension.connect(name, port, until: Deadline(nanoseconds: deadline)) { process.connected(id, $0) }
        return reply(.connect, 0)
    }

    private func connected(_ body: inout FrameReader) -> Bool {
        guard let id = body.u64() else { return false }
        guard let descriptor = process.takeConnection(id) else { return reply(.connected, KNAP_NOT_FOUND.status) }
        defer { close(descriptor) }
        return process.control.send(.connected, status: 0, [], descriptor: descriptor)
    }
}

extension WorkerRequests {
    private func held(_ body: inout FrameReader) -> Bool {
        guard let number = body.u32(), let stage = Watchdog.Stage(rawValue: number), let time = body.u64(), let method = body.text()
        else { return false }
        process.held(Watchdog.Held(method: method, stage: stage, lasted: .nanoseconds(Int64(clamping: time))))
        return true
    }
}

/// What a worker writes to its stdout and stderr, as log records: whole lines, and only so many a second.
struct OutputLines {
    private static let linesPerSecond = 100
    private static let longest = 4096

    private let logger: Logger
    private var pending: [UInt8] = []
    private var second = 0
    private var written = 0
    private var dropped = 0

    init(logger: Logger) { self.logger = logger }

    /// Takes what there is now. False: the other end is closed, and nothing is left.
    @discardableResult
    mutating func read(_ descriptor: Int32) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        let count = Glibc.read(descriptor, &chunk, chunk.count)
        guard count > 0 else { return count < 0 }
        for byte in chunk[..<count] {
            if byte == UInt8(ascii: "\n") || pending.count >= Self.longest { flush() }
            if byte != UInt8(ascii: "\n") { pending.append(byte) }
        }
        return true
    }

    mutating func flush() {
        defer { pending.removeAll(keepingCapacity: true) }
        guard !pending.isEmpty else { return }
        let now = time(nil)
        if now != second {
            if dropped > 0 { logger.warning("output dropped", metadata: ["lines": "\(dropped)"]) }
            (second, written, dropped) = (now, 0, 0)
        }
        guard written < Self.linesPerSecond else {
            dropped += 1
            return
        }
        written += 1
        logger.info("output", metadata: ["line": .string(String(decoding: pending, as: UTF8.self))])
    }
}
