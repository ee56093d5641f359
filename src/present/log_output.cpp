#include "chronos/present/log_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "chronos/base/text.h"
#include "chronos/os/local_file.h"
#include "chronos/present/json_text.h"

namespace chronos::present {
namespace {

constexpr std::array kLevels{LogLevel::off,    LogLevel::error, LogLevel::warn, LogLevel::info,
                             LogLevel::detail, LogLevel::debug, LogLevel::trace};

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

/// The time as `format` says, with milliseconds; `local` becomes what it is in this time zone.
std::string time_now(const char* format, tm& local) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    std::array<char, 64> text{};
    const std::size_t size = strftime(text.data(), text.size(), format, &local);
    std::snprintf(text.data() + size, text.size() - size, ".%03d",
                  static_cast<int>(now.tv_nsec / 1000000));
    return text.data();
}

/// "2026-11-20T08:20:59.123+01:00"
std::string rfc3339_time() {
    tm local{};
    const std::string time = time_now("%Y-%m-%dT%H:%M:%S", local);
    const long minutes = std::labs(local.tm_gmtoff) / 60;
    std::array<char, 32> zone{};
    std::snprintf(zone.data(), zone.size(), "%c%02ld:%02ld", local.tm_gmtoff < 0 ? '-' : '+',
                  minutes / 60, minutes % 60);
    return time + zone.data();
}

/// The code that error_text() puts in front, taken off; nullopt if there is none.
std::optional<int> take_code(std::string_view& text) {
    constexpr std::size_t kSize = sizeof "[055]: " - 1;
    const bool coded = text.size() >= kSize && text[0] == '[' && text.substr(4, 3) == "]: " &&
                       std::all_of(text.begin() + 1, text.begin() + 4,
                                   [](char c) { return c >= '0' && c <= '9'; });
    if (!coded) return std::nullopt;
    const int code = (text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0');
    text.remove_prefix(kSize);
    return code;
}

void append_line(std::string& text, std::string_view line) {
    if (!text.empty()) text += '\n';
    text += line;
}

}  // namespace

LogLevel log_level_of(const std::string& name) {
    for (const LogLevel level : kLevels)
        if (log_level_name(level) == name) return level;
    return LogLevel::off;
}

std::string json_log_line(LogLevel level, std::string_view text, const LogOrigin& origin) {
    nlohmann::ordered_json line{{"timestamp", rfc3339_time()},
                                {"level", log_level_name(level)},
                                {"process", origin.process_id},
                                {"command", origin.command}};
    if (!origin.stanza.empty()) line["stanza"] = origin.stanza;
    if (const std::optional<int> code = take_code(text)) line["code"] = *code;
    constexpr std::string_view kHint = "HINT: ";
    const std::size_t first = std::min(text.find('\n'), text.size());
    line["message"] = text.substr(0, first);
    std::string hint;
    std::string detail;
    if (first < text.size())
        for (const std::string_view part : split(text.substr(first + 1), '\n')) {
            const bool is_hint = part.starts_with(kHint);
            append_line(is_hint ? hint : detail, is_hint ? part.substr(kHint.size()) : part);
        }
    if (!detail.empty()) line["detail"] = detail;
    if (!hint.empty()) line["hint"] = hint;
    return text_of(line) + "\n";
}

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
    tm local{};
    return time_now("%Y-%m-%d %H:%M:%S", local);
}

LogOutput::LogOutput(LogSettings settings, std::function<void()> before_line)
    : settings_(std::move(settings)),
      before_line_(std::move(before_line)),
      console_(settings_.result_on_output ? STDERR_FILENO : STDOUT_FILENO) {
    former_ =
        set_log_receiver([this](LogLevel level, std::string_view text) { receive(level, text); });
}

LogOutput::~LogOutput() {
    set_log_receiver(std::move(former_));
    if (file_ >= 0) close(file_);
}

void LogOutput::open_file() {
    if (settings_.path.empty() || settings_.file == LogLevel::off) return;
    file_ = os::open_local_file(settings_.path, O_WRONLY | O_APPEND).release();
    if (file_ < 0) {
        if (settings_.path_was_given)
            log_warn(system_error(ErrorKind::file_open,
                                  "unable to open log file '" + settings_.path + "'", errno)
                         .message() +
                     "\nNOTE: process will continue without log file.");
        return;
    }
    if (!settings_.json) {
        struct stat status = {};
        const bool used = fstat(file_, &status) == 0 && status.st_size > 0;
        write_all(file_, used ? "\n-------------------PROCESS START-------------------\n"
                              : "-------------------PROCESS START-------------------\n");
    }
    for (const std::string& text : early_) write_file(LogLevel::warn, text, log_time());
}

void LogOutput::show_early(const std::vector<std::string>& warnings) {
    early_ = warnings;
    if (!early_.empty()) before_line_();
    for (const std::string& text : early_)
        write_all(STDERR_FILENO,
                  form({.time = "", .process = false, .level = LogLevel::warn, .text = text}));
}

std::string LogOutput::form(const LogLine& line) const {
    return settings_.json ? json_log_line(line.level, line.text, settings_.origin) : line.format();
}

void LogOutput::write_file(LogLevel level, std::string_view text, const std::string& time) {
    if (file_ >= 0 && level <= settings_.file)
        write_all(file_, form({.time = time, .process = true, .level = level, .text = text}));
}

void LogOutput::write_console(LogLevel level, const std::string& text, const std::string& time) {
    if (settings_.json && console_ == STDERR_FILENO)
        return write_all(console_, json_log_line(level, text, settings_.origin));
    const LogLine line{
        .time = settings_.timestamp ? time : "", .process = true, .level = level, .text = text};
    write_all(console_, line.format());
}

void LogOutput::receive(LogLevel level, std::string_view text) {
    const std::string full = (settings_.dry_run ? "[DRY-RUN] " : "") + without_controls(text);
    const std::string time = log_time();
    if (level <= settings_.standard_error || level <= settings_.console) before_line_();
    if (level <= settings_.standard_error)
        write_all(STDERR_FILENO,
                  form({.time = "", .process = false, .level = level, .text = full}));
    else if (level <= settings_.console)
        write_console(level, full, time);
    write_file(level, full, time);
}

}  // namespace chronos::present
