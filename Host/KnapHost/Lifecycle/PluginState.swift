/// Where a plugin is in its life.
package enum PluginState: String, Sendable, CaseIterable {
    /// Its file was refused: not a plugin, broken, or at odds with its manifest.
    case broken
    /// Known and not to be run: disabled, or something that it needs is missing.
    case resolved
    case starting
    case active
    /// A new generation is taking over.
    case reloading
    /// It ended, and is started again after a while.
    case waiting
    case stopping
    case stopped
    /// It failed to start, or ended with an error.
    case failed
}

/// One change of a plugin's state, and why.
package struct StateChange: Sendable {
    package var state: PluginState
    package var reason: String
    /// CLOCK_REALTIME, in milliseconds since 1970.
    package var time: Int64
}
