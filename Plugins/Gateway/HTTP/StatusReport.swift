import KnapJSON

/// Asks the host and the vault, where there is one, how they are.
package struct StatusReport: Sendable {
    package struct Contents: Sendable {
        package var plugins: [JSON]
        /// Nil where nobody provides `vault.status`.
        package var vaults: JSON?

        package init(plugins: [JSON] = [], vaults: JSON? = nil) {
            self.plugins = plugins
            self.vaults = vaults
        }
    }

    let backend: any Backend

    func read() async -> Contents {
        async let plugins = ask("host.plugins")
        async let vaults = ask("vault.status")
        return await Contents(plugins: plugins?["plugins"]?.arrayValue ?? [], vaults: vaults)
    }

    private func ask(_ method: String) async -> JSON? {
        try? await backend.call(BackendCall(method: method, body: [:]), onNote: { _ in }).json(from: method)
    }
}
