import CKnap
import CLinux
import Glibc
import KnapCallEngine
import KnapLink
import KnapPlugin
import Synchronization

/// How a worker's process ended.
struct WorkerEnd: Sendable {
    var reason: String
    /// It ended because the host wanted it to.
    var isWanted: Bool
    /// It ended by itself, and not with an error.
    var isOrderly = false
    /// Closed before the plugin's party at the moment of the end, so that its calls wait for a successor.
    var gate: Gate?
    /// Other workers of its pool do.
    var othersServe = false
}

/// One process that runs one instance of one plugin, joined to the call engine by a link (Host/Link).
///
/// A thread of its own answers what the worker asks over the control socket, turns its output into log records and sees
/// its end. Everything that comes from the process is hostile until checked.
final class WorkerProcess: Sendable {
    let context: InstanceContext
    let party: Party
    let pid: Int32
    let engine: CallEngine
    /// The pool's, of which it is to be a member.
    let group: WorkerGroup?
    let pidfd: Int32
    /// Or why it is in none of its own.
    let controlGroup: Result<ControlGroup, PluginError>
    let control: ControlChannel
    let output: Int32
    let doorbell: Int32
    let box: WorkerBox
    // The shared memory and the link over it: nil once they are gone.
    let link: Mutex<Link?>
    let state = Mutex(State())
    let onEnd: @Sendable (WorkerEnd) async -> Void

    struct Link: @unchecked Sendable {  // both are safe on any thread while they are there
        let pointer: OpaquePointer
        let memory: UnsafeMutableRawPointer
    }

    struct State {
        var isStopping = false
        /// Calls are routed here.
        var isServing = false
        var isSuspected = false
        /// The methods that do not return, by its own account.
        var held: [String] = []
        var end: String?
        var loaded: Result<LoadedReport, PluginError>?
        var waiter: CheckedContinuation<Result<LoadedReport, PluginError>, Never>?
        var watches: [UInt64: (registered: UInt64, box: WatchBox)] = [:]
        var connections: [UInt64: Int32] = [:]
    }

    /// What the worker says of the library that it loaded.
    struct LoadedReport: Sendable {
        var name: String
        var version: String
        var methods: [String]
        var sandbox: SandboxLayers
        var remarks: String
    }

    init(
        context: InstanceContext, party: Party, engine: CallEngine, group: WorkerGroup?, pid: Int32, pidfd: Int32,
        controlGroup: Result<ControlGroup, PluginError>, control: ControlChannel, output: Int32, doorbell: Int32, box: WorkerBox,
        memory: UnsafeMutableRawPointer,
        onEnd: @escaping @Sendable (WorkerEnd) async -> Void
    ) throws(PluginError) {
        self.context = context
        self.party = party
        self.engine = engine
        self.group = group
        self.pid = pid
        self.pidfd = pidfd
        self.controlGroup = controlGroup
        self.control = control
        self.output = output
        self.doorbell = doorbell
        self.box = box
        self.onEnd = onEnd
        link = Mutex(nil)
        var config = knap_link_config_t()
        config.party = party.pointer
        config.memory = memory
        config.is_host = 1
        config.group = group?.pointer
        config.doorbell = doorbell
        config.other_doorbell = -1  // a worker sleeps at the shared memory
        // The link is destroyed before this object goes: see `finish`.
        config.context = Unmanaged.passUnretained(self).toOpaque()
        config.call = { context, method, outgoing, _, call in
            guard let context, let outgoing else { return KNAP_INVALID_ARGUMENT.status }
            return Unmanaged<WorkerProcess>.fromOpaque(context).takeUnretainedValue().call(method, outgoing, call)
        }
        config.overdue = { context in
            guard let context else { return }
            Unmanaged<WorkerProcess>.fromOpaque(context).takeUnretainedValue().suspect()
        }
        guard let made = knap_link_create(&config) else {
            munmap(memory, KNAP_LINK_MEMORY)
            throw PluginError(code: .resourceExhausted, message: "out of memory for a link")
        }
        link.withLock { $0 = Link(pointer: made, memory: memory) }
    }

    /// A bit for each method of the library's table that may run again when the process died during it.
    func setIdempotent(_ methods: UInt64) {
        link.withLock { link in if let link { knap_link_idempotent(link.pointer, methods) } }
    }

    // MARK: Calls

    /// A call that the plugin makes, by the binding that it was given.
    private func call(
        _ binding: UInt32, _ outgoing: UnsafePointer<knap_outgoing_t>, _ call: UnsafeMutablePointer<knap_call_t>?
    ) -> knap_status_t {
        // For whom it is made the host knows from its parent, whatever the worker says.
        ServicesExtension.checkedCall(party.host, context, UInt64(binding), outgoing, call)
    }

    /// The link, for a provision; nil when it is gone.
    var linkPointer: OpaquePointer? { link.withLock { $0?.pointer } }

    /// Sends a call on to the worker itself, as a hook.
    func sendSpecial(_ call: knap_call_t, _ method: UInt32, _ body: [UInt8]) {
        let sent = link.withLock { link in
            guard let link else { return false }
            body.withUnsafeBufferPointer {
                knap_link_send_special(link.pointer, call, method, knap_bytes_t(data: $0.baseAddress, size: UInt64($0.count)))
            }
            return true
        }
        if sent { return }
        var result = knap_result_t()
        result.size = UInt32(MemoryLayout<knap_result_t>.size)
        result.status = KNAP_UNAVAILABLE.status
        _ = party.host.pointee.calls.pointee.complete(party.host, call, &result)
    }

    /// Says whether calls are routed here: only then does its end hold back its party's calls.
    func serves(_ isServing: Bool) { state.withLock { $0.isServing = isServing } }

    /// Lets calls of its pool in, or keeps them out.
    func admits(_ isAdmitting: Bool) {
        link.withLock { link in if let link { knap_group_admit(link.pointer, isAdmitting) } }
    }

    /// Calls that it serves.
    var outgoing: Int {
        link.withLock { link in
            var counts = knap_link_counts_t()
            if let link { knap_link_count(link.pointer, &counts) }
            return Int(counts.outgoing)
        }
    }

    // MARK: The watchdog

    /// A call is overdue: when the process does not even answer a question of the host's, it hangs and is ended.
    private func suspect() {
        let isNew = state.withLock { state in
            defer { state.isSuspected = true }
            return !state.isSuspected && state.end == nil
        }
        guard isNew else { return }
        Task.detached { [self] in
            if await WorkerHook.isAnswered(by: self, within: Self.patience) {
                state.withLock { $0.isSuspected = false }
            } else {
                fail(hangReason)
            }
        }
    }

    private var hangReason: String {
        if processState(pid) == "T" { return "it was stopped (SIGSTOP or the like) while a call was overdue" }
        let method = state.withLock { $0.held.last.map { " in \($0)" } ?? "" }
        return "it hung\(method): it answered nothing for \(Self.patience)"
    }

    /// Its own watch found a method that does not return, or has returned.
    func held(_ held: Watchdog.Held) {
        state.withLock { state in
            state.held.removeAll { $0 == held.method }
            if held.stage != .returned { state.held = state.held.suffix(15) + [held.method] }
        }
        context.watchdog.note(held, plugin: context.plugin, generation: context.generation)
        if held.stage == .hangs { fail("it hung: \(held.method) had not returned after \(held.lasted.inMilliseconds) ms") }
    }

    private static let patience = Duration.seconds(2)

    // MARK: The end

    /// Why the process ended; nil while it runs.
    var end: String? { state.withLock { $0.end } }

    /// Ends it now. Its end is reported as wanted.
    func kill() {
        state.withLock { $0.isStopping = true }
        knap_signal(pidfd, SIGKILL)
    }

    /// Ends it as a failure, with a reason that its record will show.
    func fail(_ reason: String) {
        state.withLock { if $0.end == nil && !$0.isStopping { $0.end = reason } }
        knap_signal(pidfd, SIGKILL)
    }

    func loaded(_ report: Result<LoadedReport, PluginError>) {
        let waiter = state.withLock { state -> CheckedContinuation<Result<LoadedReport, PluginError>, Never>? in
            guard state.loaded == nil else { return nil }
            state.loaded = report
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: report)
    }

    // MARK: The thread

    func attend() {
        var lines = OutputLines(logger: context.logger)
        // Watched until the other end is closed: -1 from then on.
        var control = control.descriptor, output = output
        while true {
            var wait = [
                pollfd(fd: control, events: Int16(POLLIN), revents: 0),
                pollfd(fd: output, events: Int16(POLLIN), revents: 0),
                pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0),
            ]
            // A process that ends closes its descriptors a moment before its end can be seen.
            let ready = poll(&wait, 3, control < 0 ? 1000 : -1)
            if ready == 0 { fail("it closed its connection to the host") }
            guard ready > 0 else { continue }
            if wait[0].revents != 0, !answerRequests() { fail("it sent what is no message") }
            if wait[0].revents & Int16(POLLHUP) != 0 { control = -1 }
            if wait[1].revents != 0, !lines.read(output) { output = -1 }
            if wait[2].revents != 0 { break }
            let isBroken = link.withLock { link in
                var counts = knap_link_counts_t()
                if let link { knap_link_count(link.pointer, &counts) }
                return counts.broken != 0
            }
            if isBroken { fail("it wrote nonsense into its ring") }
        }
        finish(&lines)
    }

    private func reap() -> WorkerDeath {
        let status = knap_reap(pidfd)
        guard case .success(let group) = controlGroup else { return WorkerDeath(status: status, crash: box.crash) }
        defer { group.remove() }
        return WorkerDeath(status: status, crash: box.crash, memoryLimit: group.ranOutOfMemory ? group.memoryLimit : nil)
    }

    private func finish(_ lines: inout OutputLines) {
        let death = reap()
        _ = answerRequests()  // what it said last, such as why it could not load
        lines.read(output)
        lines.flush()
        let (reason, isWanted, isOrderly) = state.withLock { state in
            let isOrderly = state.end == nil && death.status == 0
            let reason = state.end ?? death.reason
            state.end = reason
            return (reason, state.isStopping || !state.isServing, isOrderly)
        }
        // New calls wait, those in flight end or wait too, and then nobody is in the link any more.
        let consequence = isWanted ? .noneServes(nil) : group?.ends(self, reason) ?? .noneServes(engine.closeGate(of: [party]))
        let gate = if case .noneServes(let gate) = consequence { gate } else { nil as Gate? }
        context.registry.unwatchAll(of: context.id)
        context.watchdog.ended(context.plugin, generation: context.generation)
        if let link = link.withLock({ link in
            defer { link = nil }
            return link
        }) {
            knap_poller_remove(engine.poller, link.pointer)
            knap_link_break(link.pointer)
            destroy(link, hasGate: gate != nil)
        }
        loaded(.failure(PluginError(code: .unavailable, message: reason)))
        close(control.descriptor)
        for descriptor in [output, pidfd, doorbell] { close(descriptor) }
        for descriptor in state.withLock({ state in
            state.watches = [:]
            defer { state.connections = [:] }
            return Array(state.connections.values)
        }) { close(descriptor) }
        let onEnd = onEnd
        var end = WorkerEnd(reason: reason, isWanted: isWanted, isOrderly: isOrderly, gate: gate)
        if case .othersServe = consequence { end.othersServe = true }
        Task.detached { [end] in await onEnd(end) }
    }

    /// Frees the link when no thread can be in it: no call is admitted behind the gate, or, without one, its own places
    /// are empty.
    private func destroy(_ link: Link, hasGate: Bool) {
        let limit = Deadline.after(.seconds(5))
        while true {
            var counts = knap_link_counts_t()
            knap_link_count(link.pointer, &counts)
            if counts.in_flight == 0, !hasGate || party.counts.in_flight == 0 { break }
            if limit.hasPassed { return }  // a leak is better than a use after free
            usleep(100)
        }
        munmap(link.memory, KNAP_LINK_MEMORY)
        knap_link_destroy(link.pointer)
    }

    // MARK: What the worker asks

    /// False when what came is no frame.
    private func answerRequests() -> Bool {
        while true {
            switch control.receive() {
            case .none: return true
            case .nonsense: return false
            case .frame(let frame):
                var reader = FrameReader(frame.body)
                guard answer(frame.operation, &reader, frame.descriptor) else { return false }
            }
        }
    }

    private func answer(_ operation: ControlChannel.Operation, _ body: inout FrameReader, _ descriptor: Int32) -> Bool {
        defer { if descriptor >= 0 { close(descriptor) } }
        switch operation {
        case .loaded:
            guard let name = body.text(), let version = body.text(), let count = body.u32(), count <= 65_536 else {
                return false
            }
            var methods: [String] = []
            for _ in 0..<count {
                guard let method = body.text() else { return false }
                methods.append(method)
            }
            guard let sandbox = body.u32(), let remarks = body.text() else { return false }
            loaded(
                .success(
                    LoadedReport(name: name, version: version, methods: methods, sandbox: SandboxLayers(rawValue: sandbox), remarks: remarks)))
            return true
        case .failed:
            guard let message = body.text() else { return false }
            loaded(.failure(PluginError(code: .failedPrecondition, message: message)))
            state.withLock { if $0.end == nil { $0.end = message } }
            return true
        default:
            return WorkerRequests(process: self).answer(operation, &body, descriptor)
        }
    }

    // MARK: Watches and connections of the plugin

    func watch(_ point: String, _ id: UInt64) {
        let box = WatchBox(process: self, id: id)
        let registered = context.registry.watch(
            point,
            ContributionRegistry.Watch(
                changed: { context, epoch in
                    guard let context else { return }
                    Unmanaged<WatchBox>.fromOpaque(context).takeUnretainedValue().changed(epoch)
                }, context: Unmanaged.passUnretained(box).toOpaque(), generation: context.id))
        state.withLock { $0.watches[id] = (registered, box) }
    }

    func unwatch(_ id: UInt64) {
        guard let watch = state.withLock({ $0.watches.removeValue(forKey: id) }) else { return }
        context.registry.unwatch(watch.registered)
        _ = watch.box  // until here no `changed` may lose it
    }

    func connected(_ id: UInt64, _ result: Result<Int32, PluginError>) {
        var body = FrameWriter()
        body.put(id)
        switch result {
        case .success(let descriptor):
            let kept = state.withLock { state in
                guard state.end == nil, state.connections.count < 256 else { return false }
                state.connections[id] = descriptor
                return true
            }
            if !kept { close(descriptor) }
            body.put(UInt32(kept ? 0 : KNAP_RESOURCE_EXHAUSTED.status))
            body.put(UInt32(0))
        case .failure(let error):
            body.put(UInt32(error.code.rawValue))
            body.put(UInt32(0))
            body.append(Array(error.message.utf8))
        }
        WorkerHook.tell(self, .connected, body.bytes)
    }

    func takeConnection(_ id: UInt64) -> Int32? { state.withLock { $0.connections.removeValue(forKey: id) } }
}

/// A watch of a plugin in a worker; the registry holds its address while the process keeps it.
final class WatchBox: Sendable {
    private unowned let process: WorkerProcess  // it ends its watches before it goes
    private let id: UInt64

    init(process: WorkerProcess, id: UInt64) {
        self.process = process
        self.id = id
    }

    func changed(_ epoch: UInt64) {
        var body = FrameWriter()
        body.put(id)
        body.put(epoch)
        WorkerHook.tell(process, .registryChanged, body.bytes)
    }
}
