import CKnap
import CLinux
import Glibc
import KnapCallEngine
import KnapLink
import KnapPlugin
import KnapSystemCalls

/// What a worker is started with.
struct WorkerOptions: Sendable {
    /// The program `knap-worker`.
    var program: String
    var library: String
    var readPaths: [String]
    var writePaths: [String]
    var listenPorts: [Int]
    var environment: [String]
    var memoryBytes: Int?
    var watchdog: Duration
    var demand: SandboxDemand
    var user: WorkerUser
    var controlGroups: ControlGroups
}

extension WorkerProcess {
    /// Starts a process and waits until it has loaded its library, or failed to.
    static func start(
        _ options: WorkerOptions, manifest: Manifest, context: InstanceContext, party: Party, engine: CallEngine,
        group: WorkerGroup? = nil, onEnd: @escaping @Sendable (WorkerEnd) async -> Void
    ) async throws(PluginError) -> (WorkerProcess, LoadedReport) {
        let spawned: Result<WorkerProcess, PluginError> = await onOwnThread {
            Result { () throws(PluginError) in
                try spawn(options, manifest: manifest, context: context, party: party, engine: engine, group: group, onEnd: onEnd)
            }
        }
        let process = try spawned.get()
        let timeout = Task {
            try await Task.sleep(for: manifest.hooks.prepare)
            process.loaded(
                .failure(PluginError(code: .deadlineExceeded, message: "its library was not loaded within \(manifest.hooks.prepare)")))
        }
        let report = await withCheckedContinuation { continuation in
            let known = process.state.withLock { state in
                if state.loaded == nil { state.waiter = continuation }
                return state.loaded
            }
            if let known { continuation.resume(returning: known) }
        }
        timeout.cancel()
        do { return (process, try report.get()) } catch {
            process.kill()
            throw error
        }
    }

    private static func spawn(
        _ options: WorkerOptions, manifest: Manifest, context: InstanceContext, party: Party, engine: CallEngine,
        group: WorkerGroup? = nil, onEnd: @escaping @Sendable (WorkerEnd) async -> Void
    ) throws(PluginError) -> WorkerProcess {
        func failure(_ what: String) -> PluginError {
            PluginError(code: .resourceExhausted, message: "a worker cannot be started: \(what): \(errorText(errno))")
        }
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        let memory = knap_link_memory()
        guard memory >= 0 else {
            errno = -memory
            throw failure("memory")
        }
        held.append(memory)
        guard let mapped = mmap(nil, KNAP_LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0),
            mapped != MAP_FAILED
        else { throw failure("memory") }
        guard let box = WorkerBox() else { throw failure("memory") }
        held.append(box.descriptor)
        var pair: [Int32] = [-1, -1]
        var pipes: [Int32] = [-1, -1]
        guard knap_socket_pair(&pair) == 0 else { throw failure("socket") }
        held.append(pair[1])
        guard knap_pipe(&pipes) == 0 else { throw failure("pipe") }
        held.append(pipes[1])
        let doorbell = knap_doorbell()
        guard doorbell >= 0 else { throw failure("eventfd") }
        var pidfd: Int32 = -1
        let pid = withArguments([options.program, manifest.name]) { arguments in
            withArguments(options.environment + ["SWIFT_BACKTRACE=enable=no"]) { environment in
                [pair[1], memory, doorbell, box.descriptor].withUnsafeBufferPointer {
                    knap_spawn(options.program, arguments, environment, $0.baseAddress, Int32($0.count), pipes[1], &pidfd)
                }
            }
        }
        guard pid > 0 else {
            let reason = failure(options.program)
            for descriptor in [pair[0], pipes[0], doorbell] { close(descriptor) }
            munmap(mapped, KNAP_LINK_MEMORY)
            throw reason
        }
        let controlGroup = options.controlGroups.confine(pid, of: manifest)
        do throws(PluginError) {
            let process = try WorkerProcess(
                context: context, party: party, engine: engine, group: group, pid: pid, pidfd: pidfd, controlGroup: controlGroup,
                control: ControlChannel(descriptor: pair[0]), output: pipes[0], doorbell: doorbell, box: box, memory: mapped,
                onEnd: onEnd)
            process.begin(options, manifest)
            return process
        } catch {
            knap_signal(pidfd, SIGKILL)
            _ = knap_reap(pidfd)
            if case .success(let controlGroup) = controlGroup { controlGroup.remove() }
            for descriptor in [pair[0], pipes[0], doorbell, pidfd] { close(descriptor) }
            throw error
        }
    }

    /// Sends what to load, and starts the thread and the polling.
    private func begin(_ options: WorkerOptions, _ manifest: Manifest) {
        var body = FrameWriter()
        body.put(UInt32(getpid()))
        for text in [options.library, manifest.name, "\(manifest.version)"] { body.put(text) }
        body.put(context.configuration)
        body.put(context.stateDirectory)
        let methods = manifest.provides.flatMap { service in
            service.methods.map { ("\(service.service).\($0.name)", $0) }
        }
        body.put(UInt32(methods.count))
        for (name, method) in methods {
            body.put(name)
            body.put(UInt32(method.isBlocking ? 1 : 0))
            body.put(method.deadline?.wholeNanoseconds ?? 0)
        }
        body.put(options.watchdog.wholeNanoseconds)
        for paths in [options.readPaths, options.writePaths] {
            body.put(UInt32(paths.count))
            for path in paths { body.put(path) }
        }
        body.put(UInt32(options.listenPorts.count))
        for port in options.listenPorts { body.put(UInt32(port)) }
        body.put(UInt64(options.memoryBytes ?? 0))
        body.put(options.demand.layers.rawValue)
        body.put(options.user.number)
        body.put(options.user.reason)
        let filter = CallFilter(worker: pid, mayListen: !options.listenPorts.isEmpty)
        body.put(filter.instructions)
        body.put(filter.missing)
        _ = control.send(.start, status: 0, body.bytes)
        link.withLock { link in
            guard let link else { return }
            knap_poller_add(engine.poller, link.pointer)
        }
        startThread { self.attend() }
    }
}

/// The system calls that a worker may make; see knap_system_calls.h.
private struct CallFilter {
    private(set) var instructions: [UInt8] = []
    /// Why there are none.
    private(set) var missing = ""

    init(worker: Int32, mayListen: Bool) {
        var size: Int64 = 0
        instructions = Array(unsafeUninitializedCapacity: KNAP_CALL_FILTER_BYTES) { buffer, count in
            size = knap_call_filter(worker, mayListen ? 1 : 0, buffer.baseAddress)
            count = Int(max(0, size))
        }
        if size < 0 { missing = "the filter cannot be made: \(errorText(Int32(-size)))" }
    }
}

private func withArguments<T>(_ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T {
    let copies = texts.map { strdup($0) } + [nil]
    defer { for copy in copies { free(copy) } }
    return body(copies)
}
