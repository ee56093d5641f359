#include "cli/log_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "chronos/base/text.h"
#include "chronos/config/command.h"

namespace chronos::cli {
namespace {

constexpr std::array kLevels{LogLevel::off,    LogLevel::error, LogLevel::warn, LogLevel::info,
                             LogLevel::detail, LogLevel::debug, LogLevel::trace};

LogLevel level_of(const std::string& name) {
    for (const LogLevel level : kLevels)
        if (log_level_name(level) == name) return level;
    return LogLevel::off;
}

std::string upper(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(c - 'a' + 'A');
    return result;
}

/// A log that cannot be written must not stop the work, and there is nobody else to tell.
void write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t size = write(descriptor, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(size));
    }
}

}  // namespace

std::string LogLine::format() const {
    std::string head = time.empty() ? "" : time + " ";
    const std::string name = upper(log_level_name(level));
    if (process) head += "P00 " + std::string(6 - std::min<std::size_t>(name.size(), 6), ' ');
    head += name + ": ";
    std::string line;
    for (const std::string_view part : split(text, '\n')) {
        line += line.empty() ? head : "\n" + std::string(head.size(), ' ');
        line += part;
    }
    return line + "\n";
}

std::string error_text(const Error& error) {
    std::array<char, 16> code{};
    std::snprintf(code.data(), code.size(), "[%03d]: ", static_cast<int>(error.kind()));
    return code.data() + error.text();
}

std::string log_time() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm local{};
    localtime_r(&now.tv_sec, &local);
    std::array<char, 64> text{};
    const std::size_t size = strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
    std::snprintf(text.data() + size, text.size() - size, ".%03d",
                  static_cast<int>(now.tv_nsec / 1000000));
    return text.data();
}

LogOutput::LogOutput(const config::Config& config, std::function<void()> before_line)
    : config_(config),
      before_line_(std::move(before_line)),
      console_level_(level_of(config.get_string("log-level-console"))),
      stderr_level_(level_of(config.get_string("log-level-stderr"))),
      file_level_(level_of(config.get_string("log-level-file"))),
      timestamp_(config.get_bool("log-timestamp")),
      dry_run_(config.get_bool("dry-run")) {
    // Where standard output carries a result for a program, a warning in it would break the reader.
    const config::CommandInfo* command = config::find_command(config.command());
    const bool for_programs = config.has("output") && config.get_string("output") != "text";
    console_ =
        for_programs || (command != nullptr && command->quiet) ? STDERR_FILENO : STDOUT_FILENO;
    former_ =
        set_log_receiver([this](LogLevel level, std::string_view text) { receive(level, text); });
}

LogOutput::~LogOutput() {
    set_log_receiver(std::move(former_));
    if (file_ >= 0) close(file_);
}

void LogOutput::open_file() {
    const config::CommandInfo* command = config::find_command(config_.command());
    if (command == nullptr || !command->log_file || file_level_ == LogLevel::off) return;
    const std::string name = config_.get_string("log-path") + "/" +
                             (config_.stanza().empty() ? "all" : config_.stanza()) + "-" +
                             config_.command() + ".log";
    file_ = open(name.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (file_ < 0) {
        if (config_.has("log-path"))
            log_warn(
                system_error(ErrorKind::file_open, "unable to open log file '" + name + "'", errno)
                    .message() +
                "\nNOTE: process will continue without log file.");
        return;
    }
    struct stat status = {};
    const bool used = fstat(file_, &status) == 0 && status.st_size > 0;
    write_all(file_, used ? "\n-------------------PROCESS START-------------------\n"
                          : "-------------------PROCESS START-------------------\n");
}

void LogOutput::receive(LogLevel level, std::string_view text) {
    const std::string full = (dry_run_ ? "[DRY-RUN] " : "") + std::string(text);
    const std::string time = log_time();
    if (level <= stderr_level_ || level <= console_level_) before_line_();
    if (level <= stderr_level_)
        write_all(STDERR_FILENO,
                  LogLine{.time = "", .process = false, .level = level, .text = full}.format());
    else if (level <= console_level_)
        write_all(
            console_,
            LogLine{.time = timestamp_ ? time : "", .process = true, .level = level, .text = full}
                .format());
    if (file_ >= 0 && level <= file_level_)
        write_all(file_,
                  LogLine{.time = time, .process = true, .level = level, .text = full}.format());
}

}  // namespace chronos::cli
