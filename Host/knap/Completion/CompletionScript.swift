import ArgumentParser

/// The script that teaches a shell to complete `knap`: what `knap` itself knows, which is the same until it is replaced, and
/// the commands of plugins, for which the running host is asked each time.
enum CompletionScript {
    static func bash() -> String {
        Knap.completionScript(for: .bash) + """


            _knap_with_plugins() {
                _knap "$@"
                local word
                while IFS='' read -r word; do
                    COMPREPLY+=("${word}")
                done < <("${COMP_WORDS[0]}" \(Completing.request) "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
            }

            complete -o filenames -F _knap_with_plugins knap

            """
    }

    static func zsh() -> String {
        // Its first line says what it completes; its end completes, when the shell loads it to complete something.
        let own = Knap.completionScript(for: .zsh).split(separator: "\n", maxSplits: 1).map(String.init)
        return """
            \(own.first ?? "")
            [[ "${funcstack[1]}" = _knap ]] && _knap_first_words=("${(@)words[1,CURRENT]}")
            \(own.last ?? "")

            _knap_plugin_commands() {
                local -a found
                found=(${(f)"$("${1}" \(Completing.request) "${@:2}" 2>/dev/null)"})
                (( ${#found} )) && compadd -a found
            }

            _knap_with_plugins() {
                local -i ret=1
                _knap_plugin_commands "${(@)words[1,CURRENT]}" && ret=0
                _knap "${@}" && ret=0
                return "${ret}"
            }

            if (( ${#_knap_first_words} )); then
                _knap_plugin_commands "${_knap_first_words[@]}"
                unset _knap_first_words
            fi
            compdef _knap_with_plugins knap

            """
    }

    static func fish() -> String {
        // Fish 3 tells where the cursor is only to its editor, and not to `complete -C`.
        Knap.completionScript(for: .fish).replacing("(__knap_tokens -tC)", with: "(string length -- (commandline -ct))") + """


            complete -c knap -f -a '(knap \(Completing.request) (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'

            """
    }
}
