#include "engine/hook_command.h"

#include <sys/wait.h>

#include <vector>

#include "chronos/base/text.h"
#include "chronos/os/process.h"

namespace chronos::engine {
namespace {

constexpr std::size_t kLineMax = 8192;

/// Lines of what comes in pieces; one that is very long is cut.
class Lines {
public:
    explicit Lines(const std::function<void(std::string_view)>& receiver) : receiver_(receiver) {}
    void add(std::string_view chunk) {
        for (const char c : chunk) {
            if (c == '\n')
                flush();
            else if (line_.size() < kLineMax)
                line_ += c;
        }
    }
    void finish() {
        if (!line_.empty()) flush();
    }

private:
    void flush() {
        receiver_(printable(line_, kLineMax));
        line_.clear();
    }
    const std::function<void(std::string_view)>& receiver_;
    std::string line_;
};

}  // namespace

Result<int> run_hook_command(const HookCommand& command, const Cancellation& cancel) {
    std::vector<std::string> added;
    for (const auto& [name, value] : command.environment) added.push_back(name + "=" + value);
    os::Command shell = os::shell_command(command.text);
    shell.environment = os::environment_with(added);
    shell.output = os::Output::captured_both;
    Lines lines(command.output);
    const auto ended = os::run(shell, {command.timeout, &cancel},
                               [&](std::string_view chunk) { lines.add(chunk); });
    lines.finish();
    if (!ended) return ended.error();
    if (ended->how == os::Ended::How::timed_out)
        return Error(ErrorKind::command_invalid,
                     "the command did not end within " +
                         std::to_string(command.timeout.count() / 1000) + " s");
    if (WIFEXITED(ended->status)) return WEXITSTATUS(ended->status);
    return Error(ErrorKind::command_invalid,
                 "the command was killed by " + os::describe_status(ended->status));
}

std::string expand_escapes(std::string_view text, const std::map<char, std::string>& values) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%' || i + 1 == text.size()) {
            result += text[i];
            continue;
        }
        const auto value = values.find(text[i + 1]);
        if (text[i + 1] == '%')
            result += '%';
        else if (value != values.end())
            result += value->second;
        else
            (result += '%') += text[i + 1];
        ++i;
    }
    return result;
}

}  // namespace chronos::engine
