import CLinux
import Glibc
import KnapControl
import KnapHost
import Synchronization

/// Runs a host in this process until it is told to stop.
///
/// The main thread does nothing but wait for signals; the host lives in tasks.
enum ServedHost {
    /// Clients of a host that a relay started come and go; it waits this long for the next.
    private static let lingerTime: Duration = .seconds(30)

    static func run(_ options: ServeOptions) throws -> Int32 {
        knap_limit_pools()
        knap_raise_descriptors()
        // Before any other thread exists, so that every thread leaves these signals to this one.
        let signals = knap_stop_signals()
        guard signals >= 0 else { throw CommandFailure(ExitStatus.software, "INTERNAL", "cannot watch signals") }
        let lock = try StateLock(options.state)
        let lastEnd = try BlackBox.begin(in: options.state)
        let token = try AccessToken.obtain(options.state)
        let (stops, stop) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let outcome = Outcome()
        Task.detached {
            do {
                try await serve(options, token, lastEnd, stops, stop)
                outcome.set(ExitStatus.ok)
            } catch {
                let failure = CommandFailure(any: error)
                failure.report()
                outcome.set(failure.exitStatus)
            }
        }
        let code = waitForEnd(outcome, signals, stop)
        BlackBox.stopped()
        // Nobody else may have the state directory before the host has left it.
        _ = consume lock
        return code
    }

    private static func serve(
        _ options: ServeOptions, _ token: String, _ lastEnd: HostEnd, _ stops: AsyncStream<Void>, _ stop: AsyncStream<Void>.Continuation
    ) async throws {
        let host = try await startHost(options, token: token, lastEnd: lastEnd)
        let server: ControlServer
        do {
            server = try ControlServer(path: options.state.controlSocket, backend: host)
        } catch {
            await host.stop()
            throw error
        }
        if options.isRelayStarted {
            Output.print("knap \(Knap.version), process \(getpid()), serves \(options.vaults.joined(separator: ", "))")
        } else {
            Output.print(await Banner(options, token: token, host: host).text)
        }
        let lingering = options.isRelayStarted ? Task { await linger(server.attachments.counts(), stop) } : nil
        for await _ in stops { break }
        lingering?.cancel()
        // A little longer than a session on stdio goes on after its client's end.
        await server.stop(within: .seconds(6))
        await host.stop()
    }

    /// Asks for the stop when nobody has been attached for the linger time.
    private static func linger(_ counts: AsyncStream<Int>, _ stop: AsyncStream<Void>.Continuation) async {
        var timer: Task<Void, Never>?
        for await count in counts {
            timer?.cancel()
            guard count == 0 else { continue }
            timer = Task {
                guard (try? await Task.sleep(for: lingerTime)) != nil else { return }
                stop.yield()
            }
        }
        timer?.cancel()
    }

    /// The first signal asks for an orderly stop, the second ends the process.
    private static func waitForEnd(
        _ outcome: Outcome, _ signals: Int32, _ stop: AsyncStream<Void>.Continuation
    ) -> Int32 {
        var wasAsked = false
        while true {
            var descriptors = [
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
                pollfd(fd: outcome.event, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&descriptors, 2, -1) > 0 else { continue }
            if descriptors[1].revents != 0 { return outcome.code }
            let number = knap_next_signal(signals)
            if wasAsked {
                BlackBox.stopped()
                _exit(128 + number)
            }
            wasAsked = true
            stop.yield()
        }
    }

    /// How the task that serves ended; wakes the main thread.
    private final class Outcome: Sendable {
        let event = knap_event()
        private let value = Mutex<Int32>(0)

        var code: Int32 { value.withLock { $0 } }

        func set(_ code: Int32) {
            value.withLock { $0 = code }
            var one: UInt64 = 1
            _ = write(event, &one, 8)
        }
    }
}
