import Glibc

/// Named moments at which a test has this process die as if by a power cut (`KNAP_DIE_AT=NAME`): after each of them what
/// is on disk must lead the next start to something whole.
enum DeathPoint {
    private static let chosen = getenv("KNAP_DIE_AT").map { String(cString: $0) }

    static func reached(_ name: @autoclosure () -> String) {
        guard let chosen, chosen == name() else { return }
        kill(getpid(), SIGKILL)
        while true { pause() }
    }
}
