import KnapJSON

/// Asks the host how it is, and the plugins that contribute to the point `pages` what they have to show.
package struct StatusReport: Sendable {
    package struct Section: Sendable {
        package var title: String
        package var value: JSON
    }

    package struct Contents: Sendable {
        package var plugins: [JSON]
        package var sections: [Section]
        /// What `host.info` answers.
        package var host: JSON

        package init(plugins: [JSON] = [], sections: [Section] = [], host: JSON = .null) {
            self.plugins = plugins
            self.sections = sections
            self.host = host
        }
    }

    let backend: any Backend

    func read() async -> Contents {
        async let plugins = ask("host.plugins")
        async let host = ask("host.info")
        return await Contents(
            plugins: plugins?["plugins"]?.arrayValue ?? [], sections: sections(), host: host ?? .null)
    }

    /// In the order of the registry; one whose method fails says why.
    private func sections() async -> [Section] {
        let pages = await ask("host.contributions", ["point": "pages"])?["contributions"]?.arrayValue ?? []
        var sections: [Section] = []
        for item in pages.compactMap({ $0["item"] }) {
            guard let title = item["title"]?.stringValue, let method = item["method"]?.stringValue else { continue }
            let value: JSON
            do throws(CallFailure) {
                value = try await backend.call(BackendCall(method), onNote: { _ in }).json(from: method)
            } catch {
                value = .string("This cannot be shown: \(error.message)")
            }
            sections.append(Section(title: title, value: value))
        }
        return sections
    }

    private func ask(_ method: String, _ input: JSON = [:]) async -> JSON? {
        try? await backend.call(BackendCall(method, input), onNote: { _ in }).json(from: method)
    }
}
