#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "chronos/base/result.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::flows {

/// Which relations of a backup are restored for a server that is asked for some of them. What is no
/// relation of a database always is, and of the databases that are asked their catalogs.
///
/// All others are as large as they were, and zeros: recovery takes what it changes in them from the
/// images of pages that are in the WAL, and goes on where there is none. What it leaves there is
/// nothing that may be read.
class Selection {
public:
    /// A name of a file of the manifest.
    bool is_zeroed(std::string_view name) const;
    /// A relation as the server names its file, "base/5/16412", or one of its forks.
    bool is_zeroed_relation(std::string_view path) const;
    bool has_database(std::uint32_t database) const { return databases_.contains(database); }
    /// Whether it is one of those, or belongs to all of them.
    bool is_asked(std::string_view path) const;

    void add_database(std::uint32_t database) { databases_.try_emplace(database); }
    void add_relation(const std::string& path) { relations_.insert(path); }
    void add_everything() { everything_ = true; }
    bool is_everything() const { return everything_; }
    /// Catalogs that do not have the files any more that initdb made for them, as far as the backup
    /// says so. Of databases that were added since.
    Result<> find_catalogs(const repo::Repository& repository, const std::string& stanza,
                           const repo::Manifest& manifest);

private:
    /// By number of the database, those of catalogs that were rewritten; nothing if it is not known
    /// yet.
    struct Database {
        bool known = false;
        std::set<std::uint32_t> catalogs = {};
    };
    std::map<std::uint32_t, Database> databases_;
    std::set<std::string, std::less<>> relations_;
    bool everything_ = false;
};

}  // namespace chronos::flows
