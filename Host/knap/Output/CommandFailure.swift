import KnapControl
import KnapHost
import KnapJSON

/// Why a command failed, for people and for programs.
struct CommandFailure: Error {
    let exitStatus: Int32
    let code: String
    let message: String
    var details: JSON?
    var asJSON = false

    init(_ exitStatus: Int32, _ code: String, _ message: String) {
        self.exitStatus = exitStatus
        self.code = code
        self.message = message
    }

    init(_ failure: ControlFailure) {
        self.init(ExitStatus.forCall(status: failure.status), failure.code, failure.message)
        details = failure.details
    }

    init(_ error: ControlError) {
        let exitStatus =
            switch error.code {
            case .notRunning, .closed: ExitStatus.unavailable
            case .unwanted: ExitStatus.ok
            case .denied: ExitStatus.permission
            case .timedOut: ExitStatus.temporary
            case .protocolViolation: ExitStatus.software
            case .system: ExitStatus.inputOutput
            }
        self.init(exitStatus, "CONTROL_SOCKET", error.message)
    }

    init(_ error: StateDirectoryError) {
        let exitStatus =
            switch error.code {
            case .inUse: ExitStatus.temporary
            case .denied, .readOnly: ExitStatus.permission
            case .full, .failed: ExitStatus.inputOutput
            case .notADirectory: ExitStatus.cannotCreate
            }
        self.init(exitStatus, "STATE_DIRECTORY", error.message)
    }

    func report() {
        guard asJSON else {
            Output.note("knap: \(message)")
            if let details, !details.isNull { Output.note(Render.text(details)) }
            return
        }
        var object: JSONObject = ["code": .string(code), "message": .string(message)]
        object["details"] = details
        Output.note(JSON.object(["error": .object(object)]).serialized())
    }
}

extension CommandFailure {
    init(any error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as ControlError: self.init(error)
        case let error as ControlFailure: self.init(error)
        case let error as StateDirectoryError: self.init(error)
        default: self.init(ExitStatus.software, "INTERNAL", "\(error)")
        }
    }
}

/// Has what fails reported in the form that was asked for.
@discardableResult
func reporting<T>(_ json: Bool, _ body: () throws -> T) throws -> T {
    do { return try body() } catch {
        var failure: CommandFailure
        switch error {
        case let error as CommandFailure: failure = error
        case let error as KeyError: failure = CommandFailure(ExitStatus.data, "BAD_KEY", error.message)
        case let error as StoreError: failure = CommandFailure(ExitStatus.data, "BAD_PLUGIN", error.message)
        default: failure = CommandFailure(any: error)
        }
        failure.asJSON = json
        throw failure
    }
}
