// A run has a directory, and in it a record for each time that somebody took it: "1-1", and "1-2"
// when the one of "1-1" was lost, "2-1" when it had failed and the schedule has it tried again. A
// record is made by a write that succeeds for one only, renewed while its process lives, and in
// the end says what has become of it. So the state of the run is what all records say together.
#include "chronos/repo/side/turn.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/process_id.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/side_files.h"
#include "repo/json_text.h"
#include "repo/side/process_text.h"

namespace chronos::repo {
namespace {

constexpr std::chrono::seconds kTurnRenewal(30);
/// Longer than a lease of the repository is taken for alive: whoever takes the turn gets that too.
constexpr UnixTime kTurnDeadAfter_s = 240;
constexpr std::size_t kTurnSizeMax = 65536;
constexpr std::size_t kMessageMax = 2000;
/// Runs of a schedule that are remembered.
constexpr std::size_t kTurnsKept = 16;

constexpr const char* kUnderWay = "under-way";
constexpr const char* kSucceeded = "succeeded";
constexpr const char* kFailed = "failed";
constexpr const char* kLeft = "left";

struct TurnRecord {
    unsigned attempt = 0;
    unsigned number = 0;
    std::string state;  ///< "": it does not parse
    std::string server;
    std::string label;
    std::string message;
    int code = 0;  ///< of the message
    ProcessIdentity process;
    UnixTime modified = 0;
};

std::string turns_path(const std::string& stanza) {
    return "chronos/" + stanza + "/turns";
}

/// The name of a schedule may be anything.
std::string schedule_part(const std::string& schedule) {
    return crypto::sha1_hex(std::string_view(schedule)).substr(0, 16) + "-";
}

std::string run_path(const TurnRequest& request) {
    return turns_path(request.stanza) + "/" + schedule_part(request.schedule) +
           std::to_string(request.due);
}

std::string record_path(const TurnRequest& request, unsigned number) {
    return run_path(request) + "/" + std::to_string(request.attempt) + "-" + std::to_string(number);
}

/// nullopt: it is no record, as what a writer that was killed has left behind.
std::optional<TurnRecord> numbered(const storage::Entry& entry) {
    const std::vector<std::string_view> parts = split(entry.name, '-');
    if (entry.type != storage::EntryType::file || parts.size() != 2) return std::nullopt;
    const auto attempt = parse_uint(parts[0]), number = parse_uint(parts[1]);
    if (!attempt || !number || *attempt > 1000 || *number > 1000) return std::nullopt;
    TurnRecord record;
    record.attempt = static_cast<unsigned>(*attempt);
    record.number = static_cast<unsigned>(*number);
    record.modified = entry.modified;
    return record;
}

void parse_turn(std::string_view text, TurnRecord& record) {
    JsonReader reader(trim(text));
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        const std::string value = reader.string();
        if (set_process_part(record.process, key, value)) continue;
        if (key == "state") record.state = value;
        if (key == "server") record.server = value;
        if (key == "label") record.label = value;
        if (key == "message") record.message = value;
        if (key == "code") record.code = static_cast<int>(parse_uint(value).value_or(0));
    }
    if (!reader.finished()) record.state.clear();
}

/// In the order in which they were made.
Result<std::vector<TurnRecord>> read_records(const Repository& repository,
                                             const TurnRequest& request) {
    const std::string path = run_path(request);
    std::vector<TurnRecord> records;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(path))) {
        auto record = numbered(entry);
        if (!record) continue;
        const auto text =
            storage::read_object(*repository.storage, path + "/" + entry.name, kTurnSizeMax);
        // Gone again: it was one too many.
        if (!text && text.error().kind() == ErrorKind::not_found) continue;
        parse_turn(CHRONOS_TRY(text), *record);
        records.push_back(*std::move(record));
    }
    std::ranges::sort(records, {}, [](const TurnRecord& record) {
        return std::pair(record.attempt, record.number);
    });
    return records;
}

/// By the clock of the repository: what time it is there only a write tells.
Result<UnixTime> repository_time(const Repository& repository, const TurnRequest& request) {
    const ProcessIdentity self = ProcessIdentity::of_this_process();
    const std::string object = turns_path(request.stanza) + "/clock-" + self.boot_id.substr(0, 13) +
                               "-" + std::to_string(self.pid);
    CHRONOS_TRY(write_side_file(repository, object, "{}\n"));
    const auto entry = CHRONOS_TRY(repository.storage->info(object));
    (void)repository.storage->remove(object);
    if (entry) return entry->modified;
    return Error(ErrorKind::not_found, "'" + object + "' was removed").as_transient();
}

Result<bool> is_lost(const Repository& repository, const TurnRequest& request,
                     const TurnRecord& record) {
    if (record.state == kLeft) return true;
    if (const auto runs = still_runs(record.process)) return !*runs;
    const UnixTime now = CHRONOS_TRY(repository_time(repository, request));
    return now - record.modified > kTurnDeadAfter_s;
}

std::string clipped(const std::string& message) {
    return one_line(message).substr(0, kMessageMax);
}

}  // namespace

struct Turn::State {
    Repository repository;
    TurnRequest request;
    std::string object;
    ProcessIdentity process;
    unsigned take = 0;  ///< of this process: no two records are the same text

    std::mutex mutex;  ///< also: of two writes of the record
    std::condition_variable changed;
    bool ending = false;
    std::thread renewer;

    std::string text(const char* state, const std::string& label = "",
                     const Error* error = nullptr) const {
        ProcessText text;
        text.add("schedule", request.schedule);
        text.add("due", std::to_string(request.due));
        text.add("state", state);
        text.add("server", request.server);
        text.add("take", std::to_string(take));
        if (!label.empty()) text.add("label", label);
        if (error != nullptr) {
            text.add("message", clipped(error->message()));
            text.add("code", std::to_string(exit_code(error->kind())));
        }
        return text.finish(process);
    }
    void renew();
    void stop_renewing();
    Result<> end(const char* state, const std::string& label = "", const Error* error = nullptr);
    void forget_older();
};

void Turn::State::renew() {
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, kTurnRenewal, [this] { return ending; })) {
        // Nothing depends on a single one.
        if (const Result<> written = write_side_file(repository, object, text(kUnderWay)); !written)
            log(LogLevel::debug, "turn not renewed: " + written.error().message());
    }
}

void Turn::State::stop_renewing() {
    {
        const std::lock_guard lock(mutex);
        ending = true;
    }
    changed.notify_all();
    if (renewer.joinable()) renewer.join();
}

Result<> Turn::State::end(const char* state, const std::string& label, const Error* error) {
    stop_renewing();
    return write_side_file(repository, object, text(state, label, error));
}

/// A run that is forgotten can be taken again, by who has slept since; so not the last ones.
void Turn::State::forget_older() {
    const auto runs =
        repository.storage->list(turns_path(request.stanza), schedule_part(request.schedule));
    if (!runs) return;
    std::vector<UnixTime> dues;
    for (const storage::Entry& run : *runs) {
        const std::size_t dash = run.name.rfind('-');
        if (const auto due = parse_uint(std::string_view(run.name).substr(dash + 1)))
            dues.push_back(static_cast<UnixTime>(*due));
    }
    std::ranges::sort(dues);
    for (std::size_t i = 0; i + kTurnsKept < dues.size() && dues[i] < request.due; ++i)
        (void)repository.storage->remove_tree(turns_path(request.stanza) + "/" +
                                              schedule_part(request.schedule) +
                                              std::to_string(dues[i]));
}

Turn::Turn(std::unique_ptr<State> state) : state_(std::move(state)) {}

Turn::~Turn() {
    if (!state_->ending) (void)state_->end(kLeft);
}

Result<TurnLook> Turn::look(const Repository& repository, const TurnRequest& request) {
    CHRONOS_TRY(check_side_file(repository, run_path(request)));
    const std::vector<TurnRecord> records = CHRONOS_TRY(read_records(repository, request));
    TurnLook look;
    const auto say = [&look](TurnState state, const TurnRecord& record) {
        look.state = state;
        look.server = record.server;
        look.label = record.label;
        look.message = record.message;
        if (record.code != 0) look.kind = static_cast<ErrorKind>(record.code);
        return look;
    };
    // What was done is done, also by somebody who was taken for lost.
    for (const TurnRecord& record : records)
        if (record.state == kSucceeded) return say(TurnState::done, record);
    for (const TurnRecord& record : records) {
        if (record.attempt == request.attempt) look.next = record.number + 1;
        if (record.state == kFailed) continue;
        if (!CHRONOS_TRY(is_lost(repository, request, record)))
            return say(TurnState::under_way, record);
    }
    for (const TurnRecord& record : records)
        if (record.state == kFailed && record.attempt >= request.attempt)
            return say(TurnState::failed, record);
    return look;
}

Result<std::unique_ptr<Turn>> Turn::take(const Repository& repository, const TurnRequest& request,
                                         const TurnLook& look) {
    auto state = std::make_unique<State>();
    state->repository = repository;
    state->request = request;
    state->object = record_path(request, look.next);
    state->process = ProcessIdentity::of_this_process();
    static std::atomic<unsigned> takes{0};
    state->take = ++takes;
    const std::string text = state->text(kUnderWay);
    CHRONOS_TRY(check_side_file(repository, state->object));
    const Result<> written = storage::write_object(*repository.storage, state->object, text,
                                                   storage::WriteMode::exclusive);
    if (!written && written.error().kind() != ErrorKind::file_exists) return written.error();
    // Read back: an answer may have been lost and the request repeated, and a store may not know
    // the condition.
    if (CHRONOS_TRY(storage::read_object(*repository.storage, state->object, kTurnSizeMax)) != text)
        return std::unique_ptr<Turn>();
    State& held = *state;
    std::unique_ptr<Turn> turn(new Turn(std::move(state)));
    held.renewer = std::thread([&held] {
        const Activity::Quiet renewing;
        try {
            held.renew();
        } catch (const std::exception& exception) {
            log(LogLevel::debug, std::string("turn not renewed: ") + exception.what());
        }
    });
    return turn;
}

Result<> Turn::succeeded(const std::string& label) {
    CHRONOS_TRY(state_->end(kSucceeded, label));
    state_->forget_older();
    return {};
}

Result<> Turn::failed(const Error& error) {
    return state_->end(kFailed, "", &error);
}

}  // namespace chronos::repo
