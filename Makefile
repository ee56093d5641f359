# The server module (PGXS), and `make` of the whole product: it drives CMake for the `chronos`
# executable, so that `make && make install` puts everything in its place.
#
#   make PG_CONFIG=...             module and executable
#   make install [DESTDIR=...]     module, SQL script, control file; chronos, its manual and completion
#   CHRONOS_BINDIR=path            where the engine is installed and the module looks for it: beside the
#                                  server's programs, or /usr/local/bin if those are Debian's or PGDG's
#   make install-pgbackrest-link   a `pgbackrest` beside it that is chronos
#   make installcheck              regress and TAP tests against what is installed, not as root
#   ENGINE=path                    take this executable in place of building one; empty: the module only
#   CHRONOS_WERROR=1               warnings are errors
PG_CONFIG ?= pg_config
PG_MAJOR := $(shell $(PG_CONFIG) --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
CHRONOS_VERSION := $(shell sed -nE "s/^default_version *= *'(.*)'/\1/p" chronos_backup.control)

# Objects of one server version must not be linked for another.
MODULE_DIR := build/module-$(PG_MAJOR)
ENGINE_DIR := build/engine
ENGINE ?= $(ENGINE_DIR)/chronos

# The module is its own folder, the messages, and the few functions of base that those need.
MODULE_SOURCES := $(wildcard src/extension/*.cpp) src/control/message.cpp src/control/cron.cpp src/base/error.cpp src/base/text.cpp \
	src/base/utf8.cpp src/base/stanza_name.cpp

MODULE_big = chronos_backup
OBJS = $(patsubst src/%.cpp,$(MODULE_DIR)/%.o,$(MODULE_SOURCES))
EXTENSION = chronos_backup
DATA = $(wildcard sql/chronos_backup--*.sql)

# Where the regression tests keep their repository and the configuration that names it.
REGRESS_DIR := $(CURDIR)/build/regress
REGRESS = objects settings privileges arguments jobs backups retention job_types schedules
REGRESS_OPTS = --inputdir=test/regress --outputdir=test/regress --temp-instance=./tmp_regress \
	--temp-config=$(REGRESS_DIR)/postgresql.conf
TAP_TESTS = 1
PROVE_TESTS ?= test/tap/*.pl
PROVE_FLAGS += -I $(CURDIR)/test/tap/lib
EXTRA_CLEAN = tmp_regress build/module-* build/pg_config.stamp build/regress test/regress/results \
	test/regress/regression.diffs test/regress/regression.out

# The module knows one place, this one, and never takes the engine of another installation for its own.
# Debian and PGDG have a directory of programs for each version, which is on nobody's PATH: there one
# engine serves all versions.
CHRONOS_BINDIR ?= $(if $(filter /usr/lib/postgresql/%,$(bindir)),/usr/local/bin,$(bindir))
CHRONOS_SHAREDIR = $(patsubst %/,%,$(dir $(CHRONOS_BINDIR)))/share
PG_CPPFLAGS = -Iinclude -Isrc -DCHRONOS_VERSION='"$(CHRONOS_VERSION)"' \
	-DCHRONOS_EXECUTABLE='"$(CHRONOS_BINDIR)/chronos"'
PG_CXXFLAGS = -std=c++20 -fvisibility=hidden -fvisibility-inlines-hidden -fno-gnu-unique \
	-Wextra -Wno-register -Wno-volatile -Wno-unused-parameter -Wno-missing-field-initializers \
	$(if $(CHRONOS_WERROR),-Werror) -MMD -MP
# 15 leaves it empty, which hides every function together with what should be hidden.
ifeq ($(PG_MAJOR),15)
PG_CXXFLAGS += '-DPGDLLEXPORT=__attribute__((visibility("default")))'
endif
SHLIB_LINK = -lstdc++ -Wl,--exclude-libs,ALL -Wl,--version-script=src/extension/exports.map

# Bitcode is of no use for this module, and its rules would compile without PG_CXXFLAGS.
override with_llvm := no
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A server maps the module, and another one may load it at any moment: it too is replaced in one step.
pgxs_install_shlib := $(INSTALL_SHLIB)
INSTALL_SHLIB = replace() { $(pgxs_install_shlib) "$$1" "$$2.new" && mv -f "$$2.new" "$$2"; }; replace

.PHONY: engine install-engine install-manual uninstall-engine install-pgbackrest-link not-as-root \
	installcheck-regress installcheck-tap clean-engine

$(MODULE_DIR)/%.o: src/%.cpp
	@$(MKDIR_P) $(@D)
	$(CXX) $(CXXFLAGS) $(CPPFLAGS) -c -o $@ $<
-include $(OBJS:.o=.d)

# Renewed when another server is built for, or another place of the engine, so that the module is
# compiled again.
BUILT_FOR = $(PG_CONFIG) $(VERSION) $(CHRONOS_BINDIR)
build/pg_config.stamp: .FORCE
	@$(MKDIR_P) $(@D)
	@echo '$(BUILT_FOR)' | cmp -s - $@ || echo '$(BUILT_FOR)' >$@
.PHONY: .FORCE
$(shlib): build/pg_config.stamp src/extension/exports.map
$(OBJS): build/pg_config.stamp

all: engine
ifeq ($(ENGINE),$(ENGINE_DIR)/chronos)
engine:
	cmake -S . -B $(ENGINE_DIR) -DCMAKE_BUILD_TYPE=Release -DCHRONOS_TESTS=OFF -DCHRONOS_UNITY=ON
	cmake --build $(ENGINE_DIR) --target chronos --parallel $(shell nproc)
else ifneq ($(ENGINE),)
engine:
	@test -x $(ENGINE) || { echo "no executable $(ENGINE)" >&2; exit 1; }
endif

# Engines are started all the time, and some run for as long as the server: what is there is replaced
# in one step, so that whoever starts one meanwhile gets the old program or the new one, whole.
install_program = $(INSTALL_PROGRAM) $(1) '$(DESTDIR)$(CHRONOS_BINDIR)/.$(2).new' && \
	mv -f '$(DESTDIR)$(CHRONOS_BINDIR)/.$(2).new' '$(DESTDIR)$(CHRONOS_BINDIR)/$(2)'

ifneq ($(ENGINE),)
install: install-engine install-manual
uninstall: uninstall-engine
endif
# Former releases had it beside the server's programs, where a restore_command may still look for it.
install-engine: engine
	$(MKDIR_P) '$(DESTDIR)$(CHRONOS_BINDIR)'
	if test -x $(ENGINE)-serve; then $(call install_program,$(ENGINE)-serve,chronos-serve); fi
	$(call install_program,$(ENGINE),chronos)
	if test '$(CHRONOS_BINDIR)' != '$(bindir)' && test -f '$(DESTDIR)$(bindir)/chronos'; then \
		ln -sf '$(CHRONOS_BINDIR)/chronos' '$(DESTDIR)$(bindir)/.chronos.new' && \
		mv -fT '$(DESTDIR)$(bindir)/.chronos.new' '$(DESTDIR)$(bindir)/chronos'; fi
install-manual:
	$(MKDIR_P) '$(DESTDIR)$(CHRONOS_SHAREDIR)/man/man1' '$(DESTDIR)$(CHRONOS_SHAREDIR)/man/man5' \
		'$(DESTDIR)$(CHRONOS_SHAREDIR)/bash-completion/completions'
	$(INSTALL_DATA) docs/man/chronos.1 '$(DESTDIR)$(CHRONOS_SHAREDIR)/man/man1/'
	$(INSTALL_DATA) docs/man/chronos.conf.5 '$(DESTDIR)$(CHRONOS_SHAREDIR)/man/man5/'
	$(INSTALL_DATA) docs/completion/chronos '$(DESTDIR)$(CHRONOS_SHAREDIR)/bash-completion/completions/'
# Where one engine serves several servers, the last module that was made for it takes it along.
uninstall-engine: uninstall-lib
	@if grep -lsF '$(CHRONOS_BINDIR)/chronos' '$(DESTDIR)'/usr/lib/postgresql/*/lib/chronos_backup.so; then \
		echo 'left there for these: $(CHRONOS_BINDIR)/chronos'; \
	else rm -f '$(DESTDIR)$(CHRONOS_BINDIR)/chronos' '$(DESTDIR)$(CHRONOS_BINDIR)/chronos-serve' \
		'$(DESTDIR)$(CHRONOS_SHAREDIR)/man/man1/chronos.1' '$(DESTDIR)$(CHRONOS_SHAREDIR)/man/man5/chronos.conf.5' \
		'$(DESTDIR)$(CHRONOS_SHAREDIR)/bash-completion/completions/chronos'; fi
	if test -L '$(DESTDIR)$(bindir)/chronos'; then rm -f '$(DESTDIR)$(bindir)/chronos'; fi
install-pgbackrest-link: install-engine
	ln -sf chronos '$(DESTDIR)$(CHRONOS_BINDIR)/pgbackrest'

# initdb refuses root; and what is tested is what `make install` has put in place.
not-as-root:
	@test "$$(id -u)" != 0 || { echo 'run the tests as an unprivileged user, e.g. runuser -u postgres -- make installcheck' >&2; exit 1; }
.PHONY: regress-files
regress-files: not-as-root
	rm -rf $(REGRESS_DIR) && $(MKDIR_P) $(REGRESS_DIR)/repo $(REGRESS_DIR)/log
	for file in postgresql.conf chronos.conf; do \
		sed 's|@DIR@|$(REGRESS_DIR)|' test/regress/$$file >$(REGRESS_DIR)/$$file && \
		chmod 600 $(REGRESS_DIR)/$$file; done
installcheck: not-as-root regress-files
installcheck-regress: not-as-root regress-files
	$(pg_regress_installcheck) $(REGRESS_OPTS) $(REGRESS)
installcheck-tap: not-as-root
	$(prove_installcheck)

# What was given is not this Makefile's to remove.
ifeq ($(ENGINE),$(ENGINE_DIR)/chronos)
clean: clean-engine
endif
clean-engine:
	rm -rf $(ENGINE_DIR)
