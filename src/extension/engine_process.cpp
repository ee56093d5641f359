#include "extension/engine_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "chronos/base/text.h"
#include "chronos/control/message.h"
#include "extension/spawn.h"
#include "extension/version.h"

extern char** environ;

namespace chronos::extension {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kErrorTailSizeMax = 2048;

struct Engine {
    Child child;
    pid_t worker = -1;  ///< the process that does the work; the child itself is its guard
    bool said_hello = false;
    bool ended = false;
    std::string end_reason;
    std::string error_tail;
    control::LineBuffer lines;
    control::Message message;
    std::string unsent;
};

std::unique_ptr<Engine> engine;
std::string last_end_reason;
/// Of the last engine that said hello, if its release is not this module's: that, and a sentence
/// about what to do.
std::string version_difference;
std::string version_remedy;

void copy_text(char* target, std::size_t size, const std::string& text) {
    std::size_t length = std::min(size - 1, text.size());
    // Not within a character.
    while (length > 0 && length < text.size() && (text[length] & 0xC0) == 0x80) --length;
    std::memcpy(target, text.data(), length);
    target[length] = '\0';
}

Failure failure_of(const Error& error) {
    Failure failure;
    failure.happened = true;
    copy_text(failure.message, sizeof failure.message, error.message());
    copy_text(failure.hint, sizeof failure.hint, error.hint());
    return failure;
}

/// The way out of this file: nothing that is thrown below it gets to the server.
template <class Body>
Failure guarded(Body&& body) noexcept {
    Failure failure;
    try {
        if (Result<> result = body(); !result) return failure_of(result.error());
        return failure;
    } catch (const std::exception& exception) {
        std::strncpy(failure.message, exception.what(), sizeof failure.message - 1);
    } catch (...) {
        std::strncpy(failure.message, "unknown exception", sizeof failure.message - 1);
    }
    failure.happened = true;
    return failure;
}

bool passes_on(std::string_view variable) {
    static constexpr std::array<std::string_view, 10> kNames = {
        "PATH=",       "HOME=",        "PGBACKREST_", "CHRONOS_",       "AWS_",
        "http_proxy=", "https_proxy=", "no_proxy=",   "SSL_CERT_FILE=", "SSL_CERT_DIR="};
    return std::any_of(kNames.begin(), kNames.end(),
                       [&](std::string_view name) { return variable.starts_with(name); });
}

/// Minimal and explicit: what else is in the server's environment (LD_PRELOAD, locale, passwords)
/// is none of the engine's business.
std::vector<std::string> engine_environment(std::string_view time_zone) {
    std::vector<std::string> result{"LANG=C"};
    for (char** variable = environ; *variable != nullptr; ++variable)
        if (passes_on(*variable)) result.emplace_back(*variable);
    if (!time_zone.empty()) result.push_back("TZ=" + std::string(time_zone));
    return result;
}

void end_channel(const std::string& reason) {
    engine->ended = true;
    if (engine->end_reason.empty()) engine->end_reason = reason;
}

void read_errors() {
    char buffer[4096];
    for (;;) {
        const ssize_t size = read(engine->child.errors, buffer, sizeof buffer);
        if (size <= 0) return;
        engine->error_tail.append(buffer, static_cast<std::size_t>(size));
        if (engine->error_tail.size() > kErrorTailSizeMax)
            engine->error_tail.erase(0, engine->error_tail.size() - kErrorTailSizeMax);
    }
}

/// Reads once; false if nothing is there now.
bool read_channel() {
    char buffer[16384];
    const ssize_t size = recv(engine->child.channel, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
    if (size <= 0) {
        // The reason is left empty: how the process ended will tell more.
        engine->ended = true;
        return false;
    }
    if (!engine->lines.append({buffer, static_cast<std::size_t>(size)}))
        end_channel("engine sent a line that is too long");
    return true;
}

/// What brings both to the same release again. A module is as old as the start of its server,
/// whatever lies on the disk; an engine is what lies there when it is started.
const char* remedy(bool engine_is_newer) {
    return engine_is_newer
               ? "Restart PostgreSQL: it runs on with the module that it was started with. (An "
                 "installed module that is older than chronos has to be upgraded first.)"
               : "Upgrade chronos (Debian package chronos-backup), or set chronos.executable to "
                 "the "
                 "one that was installed with the module.";
}

bool is_newer(std::string_view version, std::string_view than) {
    const auto numbers = [](std::string_view text) {
        std::array<unsigned long long, 3> result{};
        std::size_t i = 0;
        for (const std::string_view part : split(text, '.'))
            if (i < result.size())
                result[i++] =
                    parse_uint(part.substr(0, part.find_first_not_of("0123456789"))).value_or(0);
        return result;
    };
    return numbers(version) > numbers(than);
}

void note_version(const std::string& version) {
    version_difference.clear();
    if (version == kModuleVersion) return;
    version_difference = "chronos is version " + printable(version, 32) +
                         ", the module that the server runs is version " + kModuleVersion;
    version_remedy = remedy(is_newer(version, kModuleVersion));
}

void take_hello(const control::Message& hello) {
    const auto protocol = hello.get_uint("protocol");
    const std::string version(hello.get_or("version", "?"));
    if (protocol != control::kProtocolVersion) {
        end_channel("engine speaks protocol " + std::string(hello.get_or("protocol", "?")) +
                    " (version " + printable(version, 32) + "), this server protocol " +
                    std::to_string(control::kProtocolVersion) + " (version " + kModuleVersion +
                    "). " + remedy(protocol.value_or(0) > control::kProtocolVersion));
        return;
    }
    note_version(version);
    engine->said_hello = true;
    if (const auto pid = hello.get_uint("pid"); pid && *pid > 1 && *pid < (1ULL << 30))
        engine->worker = static_cast<pid_t>(*pid);
}

/// Words that one of the two does not know: it is of another release.
void explain_failure(control::Message& failed) {
    const auto code = static_cast<ErrorKind>(failed.get_uint("code").value_or(0));
    const bool unknown = code == ErrorKind::command_invalid || code == ErrorKind::option_invalid ||
                         code == ErrorKind::option_invalid_value || code == ErrorKind::protocol;
    if (!unknown || version_difference.empty()) return;
    std::string hint(failed.get_or("hint", ""));
    hint += (hint.empty() ? "But " : "\nBut ") + version_difference + ". " + version_remedy;
    std::erase_if(failed.fields, [](const auto& field) { return field.first == "hint"; });
    failed.fields.emplace_back("hint", hint);
}

/// A message for the caller from what has been read; false if there is no whole one.
bool take_message() {
    while (const std::optional<std::string> line = engine->lines.next_line()) {
        std::optional<control::Message> message = control::decode(*line);
        if (!message) {
            end_channel("engine sent what is not a message: '" + printable(*line, 64) + "'");
            return false;
        }
        if (message->verb == "hello") {
            take_hello(*message);
            if (engine->ended) return false;
            continue;
        }
        if (!engine->said_hello && message->verb != "failed" && message->verb != "log") {
            end_channel("engine did not begin with hello");
            return false;
        }
        if (message->verb == "failed") explain_failure(*message);
        engine->message = std::move(*message);
        return true;
    }
    return false;
}

EngineEvent receive() {
    if (!engine) return EngineEvent::ended;
    read_errors();
    for (;;) {
        if (take_message()) return EngineEvent::message;
        if (engine->ended) return EngineEvent::ended;
        if (!read_channel() && !engine->ended) return EngineEvent::nothing;
    }
}

std::string describe_exit(int status) {
    if (WIFSIGNALED(status)) {
        const char* name = strsignal(WTERMSIG(status));
        return "engine was killed by signal " + std::to_string(WTERMSIG(status)) + " (" +
               (name != nullptr ? name : "unknown") + ")";
    }
    return "engine ended with exit status " + std::to_string(WEXITSTATUS(status)) +
           " without a result";
}

/// Waits for `pid` up to `limit`; the exit status once it is reaped.
std::optional<int> reap_within(pid_t pid, milliseconds limit) {
    const auto deadline = steady_clock::now() + limit;
    for (;;) {
        int status = 0;
        const pid_t reaped = waitpid(pid, &status, WNOHANG);
        if (reaped == pid) return status;
        if (reaped < 0 && errno != EINTR) return 0;  // somebody else reaped it
        if (steady_clock::now() >= deadline) return std::nullopt;
        poll(nullptr, 0, 2);
    }
}

/// The guard itself does not answer. Its worker must not become an orphan: a postmaster that is PID
/// 1 would adopt it and take its death by a signal for a crashed backend. So this process adopts
/// it.
int kill_guard(pid_t guard, pid_t worker) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    kill(guard, SIGKILL);
    int status = 0;
    while (waitpid(guard, &status, 0) < 0 && errno == EINTR) {
    }
    if (worker > 0 && worker != guard) reap_within(worker, milliseconds(1000));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    return status;
}

int end_and_reap(const Engine& running, milliseconds grace) {
    const pid_t guard = running.child.pid;
    // The closed channel is enough for one that has nothing left to do.
    if (const auto status = reap_within(guard, milliseconds(100))) return *status;
    kill(guard, SIGTERM);
    if (const auto status = reap_within(guard, grace)) return *status;
    if (running.worker > 0) kill(running.worker, SIGKILL);
    if (const auto status = reap_within(guard, milliseconds(1000))) return *status;
    return kill_guard(guard, running.worker);
}

void stop(milliseconds grace) {
    if (!engine) return;
    // End of file on its standard input means "stop" too.
    shutdown(engine->child.channel, SHUT_WR);
    const int status = end_and_reap(*engine, grace);
    read_errors();
    last_end_reason = engine->end_reason.empty() ? describe_exit(status) : engine->end_reason;
    const std::string_view tail = trim(engine->error_tail);
    if (!tail.empty()) last_end_reason += "; it said: " + printable(tail, 400);
    close(engine->child.channel);
    close(engine->child.errors);
    engine.reset();
}

Result<> start_engine(const EngineStart& start) {
    if (engine) return Error(ErrorKind::internal, "an engine is running already");
    std::vector<std::string> arguments;
    for (const char* const* argument = start.arguments; *argument != nullptr; ++argument)
        arguments.emplace_back(*argument);
    auto fresh = std::make_unique<Engine>();
    fresh->child =
        CHRONOS_TRY(spawn(start.executable, arguments, engine_environment(start.time_zone)));
    // Until hello says otherwise, for what must be killed: the child itself.
    fresh->worker = fresh->child.pid;
    engine = std::move(fresh);
    return {};
}

Result<> queue_message(const char* verb, const char* const* fields) {
    if (!engine) return Error(ErrorKind::internal, "no engine is running");
    control::Message message(verb);
    for (; fields[0] != nullptr; fields += 2)
        if (fields[1] != nullptr) message.fields.emplace_back(fields[0], fields[1]);
    const std::string line = control::encode(message);
    if (line.size() > control::kLineSizeMax)
        return Error(ErrorKind::protocol, std::string("message '") + verb + "' is too long");
    engine->unsent += line;
    return {};
}

}  // namespace

Failure engine_start(const EngineStart& start) noexcept {
    return guarded([&] { return start_engine(start); });
}

bool engine_running() noexcept {
    return engine != nullptr;
}

int engine_fd() noexcept {
    return engine ? engine->child.channel : -1;
}

bool engine_said_hello() noexcept {
    return engine && engine->said_hello;
}

EngineEvent engine_receive() noexcept {
    EngineEvent event = EngineEvent::ended;
    const Failure failure = guarded([&]() -> Result<> {
        event = receive();
        return {};
    });
    if (failure.happened) {
        if (engine) engine->ended = true;
        return EngineEvent::ended;
    }
    return event;
}

const char* engine_verb() noexcept {
    return engine ? engine->message.verb.c_str() : "";
}

const char* engine_field(const char* key) noexcept {
    if (!engine) return nullptr;
    for (const auto& [name, value] : engine->message.fields)
        if (name == key) return value.c_str();
    return nullptr;
}

unsigned long long engine_field_number(const char* key, unsigned long long fallback) noexcept {
    const char* text = engine_field(key);
    if (text == nullptr) return fallback;
    return parse_uint(text).value_or(fallback);
}

const char* engine_version_difference() noexcept {
    return version_difference.c_str();
}

const char* engine_version_remedy() noexcept {
    return version_remedy.c_str();
}

bool is_newer_release(const char* version, const char* than) noexcept {
    return is_newer(version, than);
}

const char* engine_end_reason() noexcept {
    return last_end_reason.c_str();
}

Failure engine_queue(const char* verb, const char* const* fields) noexcept {
    return guarded([&] { return queue_message(verb, fields); });
}

void engine_unqueue() noexcept {
    if (engine) engine->unsent.clear();
}

bool engine_send() noexcept {
    while (engine && !engine->unsent.empty()) {
        const ssize_t size = send(engine->child.channel, engine->unsent.data(),
                                  engine->unsent.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
        if (size < 0) {
            // It has gone; what it said before that is still to be received.
            engine->unsent.clear();
            return false;
        }
        engine->unsent.erase(0, static_cast<std::size_t>(size));
    }
    return false;
}

void engine_terminate() noexcept {
    if (engine) kill(engine->child.pid, SIGTERM);
}

void engine_stop(int grace_ms) noexcept {
    const Failure failure = guarded([&]() -> Result<> {
        stop(milliseconds(grace_ms));
        return {};
    });
    // Memory ran out while the reason was composed: the process is gone, only its text is lost.
    if (failure.happened) engine.reset();
}

}  // namespace chronos::extension
