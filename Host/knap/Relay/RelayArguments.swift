import KnapHost

/// What `knap mcp` was asked for.
struct RelayArguments {
    var vaults: [String] = []
    var state: String?
    /// Passed on when the relay has to start the host.
    var plugins: [String] = []
    var profile: String?
    var port: String?

    init() {}

    /// Reads `mcp --vault DIR …`; nil for anything else, for instance `--help`, which the full parser answers.
    init?(plain arguments: [String]) {
        guard arguments.first == "mcp" else { return nil }
        var rest = arguments.dropFirst()
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            guard let value = parts.count == 2 ? parts[1] : rest.popFirst(), !value.hasPrefix("--") else { return nil }
            switch parts.first {
            case "--vault": vaults.append(value)
            case "--state": state = value
            case "--plugins": plugins.append(value)
            case "--profile": profile = value
            case "--port": port = value
            default: return nil
            }
        }
        if vaults.isEmpty && state == nil { return nil }
    }
}
