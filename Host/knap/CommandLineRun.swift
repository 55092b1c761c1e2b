import ArgumentParser
import Glibc

/// Parses arguments, runs the command, and says how it went as an exit code.
enum CommandLineRun {
    static func run(_ arguments: [String]) -> Int32 {
        if arguments.first == Completing.request { return Completing.run(Array(arguments.dropFirst())) }
        if let name = arguments.first, !name.hasPrefix("-"), !Knap.commandNames.contains(name),
            let code = PluginCommands.run(arguments)
        {
            return code
        }
        if ["help", "--help", "-h"].contains(arguments.first ?? "help"), arguments.count < 2 {
            Output.print(Knap.helpMessage(columns: nil) + PluginCommands.help())
            return ExitStatus.ok
        }
        do {
            var command = try Knap.parseAsRoot(arguments)
            try command.run()
            return ExitStatus.ok
        } catch let failure as CommandFailure {
            failure.report()
            return failure.exitStatus
        } catch {
            let text = Knap.fullMessage(for: error)
            let code = Knap.exitCode(for: error).rawValue
            if !text.isEmpty { code == 0 ? Output.print(text) : Output.note(text) }
            return code
        }
    }
}
