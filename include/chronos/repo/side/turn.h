#pragma once

#include <memory>
#include <string>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

/// Whose turn a run of a schedule is, where several servers of one cluster have the schedule and
/// nobody else to ask. Source: docs/design/turns.md.
namespace chronos::repo {

/// One run of a schedule: what it is asked for by on every server alike.
struct TurnRequest {
    std::string stanza;
    std::string schedule;  ///< its name
    UnixTime due = 0;      ///< the moment that the run is of
    unsigned attempt = 1;  ///< of this moment
    std::string server;    ///< who asks, for people
};

/// How far the run has got, whoever has it.
enum class TurnState {
    open,       ///< nobody has it, or whoever had it is gone: it can be taken
    under_way,  ///< somebody has it and is alive, or may be
    done,
    failed,  ///< in the attempt that is asked for, or a later one
};

struct TurnLook {
    TurnState state = TurnState::open;
    std::string server;                    ///< who has it, or had it last; "" if nobody did
    std::string label;                     ///< done: of the backup
    std::string message;                   ///< failed: why
    ErrorKind kind = ErrorKind::internal;  ///< failed: of what
    unsigned next = 1;                     ///< open: the number of the record that takes it
};

/// The turn of the process that has it. What is lost with it - the process is killed, the machine
/// dies - is open for others when its record was not renewed for four minutes, by the clock of the
/// repository; from the same machine that is seen at once. An object
/// "chronos/<stanza>/turns/<schedule>-<due>/<attempt>-<number>", renewed every 30 seconds by a
/// thread of its own until finish().
class Turn {
public:
    /// Kind path_missing where there is no stanza yet. Takes 1 request while nobody has it.
    static Result<TurnLook> look(const Repository& repository, const TurnRequest& request);

    /// Takes what look() has found to be open. Null: somebody else was faster. Of two exactly one
    /// gets it where the store has conditional writes (docs/format/s3.md); elsewhere both may, and
    /// never none.
    static Result<std::unique_ptr<Turn>> take(const Repository& repository,
                                              const TurnRequest& request, const TurnLook& look);

    /// Not finished: it is left to others, at once.
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// What has become of it is on record for the others before this returns. Older runs of the
    /// schedule are forgotten, but for the last ones.
    Result<> succeeded(const std::string& label);
    Result<> failed(const Error& error);

private:
    struct State;
    explicit Turn(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace chronos::repo
