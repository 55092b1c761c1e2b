/// What `knap plan` prints.
extension Plan {
    package var text: String {
        var lines: [String] = []
        if isEmpty { lines.append(kept.isEmpty ? "Nothing runs and nothing is to be done." : "Nothing is to be done.") }
        lines += waves("stop", stops) + waves("start", starts)
        if !kept.isEmpty { lines.append("keep   \(kept.joined(separator: ", "))") }
        lines += section("left out", omissions.filter(\.code.isProblem))
        lines += section("not running by choice", omissions.filter { !$0.code.isProblem })
        if !notes.isEmpty {
            lines += ["", "notes:"] + notes.map { "  " + $0 }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// `start 1  events 1.0.0, obsidian 2.1.0`: what may happen side by side is on one line.
    private func waves(_ verb: String, _ waves: [[Step]]) -> [String] {
        waves.enumerated().map { number, steps in
            "\(verb) \(number + 1)  " + steps.map(Self.describe).joined(separator: ", ")
        }
    }

    private static func describe(_ step: Step) -> String {
        switch step.action {
        case .start: "\(step.plugin) \(step.version) (\(step.isolation.rawValue))"
        case .replace(let old): "\(step.plugin) \(old) → \(step.version) (\(step.isolation.rawValue))"
        case .stop(let reason): "\(step.plugin) \(step.version): \(reason)"
        }
    }

    private func section(_ title: String, _ omissions: [Omission]) -> [String] {
        guard !omissions.isEmpty else { return [] }
        var lines = ["", "\(title):"]
        for omission in omissions {
            let version = omission.version.map { " \($0)" } ?? ""
            let source = omission.source.isEmpty ? "" : " (\(omission.source))"
            lines.append("  \(omission.plugin)\(version)\(source): \(omission.message)")
            if let running = omission.stillRunning { lines.append("    version \(running) goes on running") }
        }
        return lines
    }
}
