# texres - see `make help`.
#
# Sources are found by pattern: a new file in csrc/ needs no line here. Files in csrc/kernels/simd/ are compiled once per
# instruction set. Project flags live in TX_*, so that CFLAGS and LDFLAGS stay the user's (LuaRocks sets them).

VERSION    := 0.2.0
LUA        ?= lua5.4
BUILD      ?= build
CFLAGS     ?= -O2 -g
PKG_CONFIG ?= pkg-config
first_pc    = $(firstword $(foreach p,$(1),$(shell $(PKG_CONFIG) --exists $(p) 2>/dev/null && echo $(p))))
LUA_PC     := $(call first_pc,lua5.4 lua-5.4 lua54)
LUA_INCDIR ?= $(patsubst -I%,%,$(filter -I%,$(shell $(PKG_CONFIG) --cflags-only-I $(LUA_PC) 2>/dev/null)))
PREFIX     ?= /usr/local
ifneq ($(filter ~/%,$(PREFIX)),) # which not every shell replaces there
override PREFIX := $(PREFIX:~/%=$(HOME)/%)
endif
LUADIR     ?= $(PREFIX)/share/lua/5.4
LIBDIR     ?= $(PREFIX)/lib/lua/5.4
BINDIR     ?= $(PREFIX)/bin

TARGET := $(shell $(CC) -dumpmachine)
ifneq ($(filter mingw% msys cygwin windows%,$(subst -, ,$(TARGET))),)
$(error texres does not run on Windows; the Linux of WSL is what it is built for there)
endif

TX_WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(CI),-Werror)
# No product is joined with a sum unless a kernel says so: a place that is found inside an image here is inside there, too.
TX_CODE   := -std=c11 -O3 -fPIC -fvisibility=hidden -fopenmp-simd -fno-math-errno -fno-trapping-math -ffp-contract=off
TX_CFLAGS := $(TX_CODE) -Icsrc $(if $(LUA_INCDIR),-I$(LUA_INCDIR)) $(foreach dir,$(STB_INCDIR) $(ZLIB_INCDIR),-idirafter $(dir)) $(TX_WARN)
ifneq ($(findstring darwin,$(TARGET)),)
# macOS, written down without a machine to try it on. Its loader keeps whatever has thread-local variables, as we do.
TX_LDFLAGS := -bundle -undefined dynamic_lookup
else
# nodelete: our threads outlive a dlclose.
TX_LDFLAGS := -shared -Wl,-z,nodelete -Wl,--no-undefined-version
endif
TX_LIBS := $(ZLIB_LIBDIR:%=-L%) -lz -lm -lpthread

# OpenBLAS is optional: without it, or with BLAS=no, matrix products that it would do take loops of our own, which are slower.
ifneq ($(BLAS),no)
BLAS_OPTIONS := $(shell CC='$(CC)' PKG_CONFIG='$(PKG_CONFIG)' OPENBLAS_DIR='$(OPENBLAS_DIR)' OPENBLAS_INCDIR='$(OPENBLAS_INCDIR)' \
  OPENBLAS_LIBDIR='$(OPENBLAS_LIBDIR)' tools/openblas.sh)
BLAS_CFLAGS  := $(if $(BLAS_OPTIONS),-DTX_HAVE_OPENBLAS $(patsubst -I%,-isystem %,$(filter -I% -D%,$(BLAS_OPTIONS))))
BLAS_LIBS    := $(filter-out -I% -D%,$(BLAS_OPTIONS))
endif

# HDF5 is optional: with it, unless HDF5=no, train64.h5 and its like can be read.
ifneq ($(HDF5),no)
HDF5_PC     := $(call first_pc,hdf5-serial hdf5)
HDF5_CFLAGS := $(if $(HDF5_PC),-DTX_HAVE_HDF5 $(shell $(PKG_CONFIG) --cflags $(HDF5_PC)))
HDF5_LIBS   := $(if $(HDF5_PC),$(shell $(PKG_CONFIG) --libs $(HDF5_PC)))
endif

# MPI is optional: with it, unless MPI=no, trainings run on several processes: a module of its own, lua/texres/mpi.so.
ifneq ($(MPI),no)
MPI_PC     := $(call first_pc,mpi-c ompi-c mpich)
MPI_CFLAGS := $(if $(MPI_PC),$(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags-only-I $(MPI_PC))))
MPI_LIBS   := $(if $(MPI_PC),$(shell $(PKG_CONFIG) --libs $(MPI_PC)))
endif
WITHOUT := $(if $(BLAS_LIBS),,OpenBLAS) $(if $(HDF5_LIBS),,HDF5) $(if $(MPI_LIBS),,MPI)

ARCH := $(firstword $(subst -, ,$(TARGET)))
ifeq ($(ARCH),x86_64)
ISAS := avx2 avx512
else ifneq ($(filter aarch64 arm64,$(ARCH)),)
ISAS := neon
endif
FLAGS_avx2   := -mavx2 -mfma
FLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
FLAGS_neon   :=

SOURCES := $(sort $(filter-out csrc/kernels/simd/% csrc/mpi/%,$(wildcard csrc/*/*.c csrc/kernels/*/*.c)))
SIMD    := $(sort $(wildcard csrc/kernels/simd/*.c))
OBJECTS := $(SOURCES:csrc/%.c=$(BUILD)/%.o) $(foreach isa,$(ISAS),$(SIMD:csrc/kernels/simd/%.c=$(BUILD)/kernels/simd/$(isa)/%.o))
CORE    ?= lua/texres/core.so
MPI_SOURCES := $(if $(MPI_LIBS),$(sort $(wildcard csrc/mpi/*.c)))
MPI_OBJECTS := $(MPI_SOURCES:csrc/%.c=$(BUILD)/%.o)
MPI_MODULE  := $(if $(MPI_LIBS),$(dir $(CORE))mpi.so)

# `make V=1` shows the commands.
say = $(if $(V),,@echo '  $(1)'; )

.PHONY: all
all: $(CORE) $(MPI_MODULE) ## build the module: lua/texres/core.so, and mpi.so where MPI is there

# Holds what objects are made with, so that other flags, or a library that was installed since, build them anew.
MADE_WITH := $(CC) $(CFLAGS) $(TX_CFLAGS) $(TX_SANITIZE) $(BLAS_CFLAGS) $(HDF5_CFLAGS) $(MPI_CFLAGS) $(BLAS_LIBS) $(HDF5_LIBS) $(MPI_LIBS) $(TX_LIBS) \
  $(LDFLAGS) $(VERSION)
.PHONY: always
$(BUILD)/made-with: always
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = '$(subst ','\'',$(MADE_WITH))' ] || printf '%s\n' '$(subst ','\'',$(MADE_WITH))' >$@

# Headers that are missing are told of before anything is compiled, with the packages that bring them.
$(OBJECTS) $(MPI_OBJECTS): | $(BUILD)/headers
$(BUILD)/headers: $(BUILD)/made-with
	@printf '#include <%s>\n' lauxlib.h zlib.h stb/stb_image.h stb/stb_image_resize.h | \
	  $(CC) $(CFLAGS) $(TX_CFLAGS) -E -x c -o /dev/null - || { tools/setup.sh --tell build; exit 1; }
	@touch $@

LINK = $(CC) $(TX_LDFLAGS) $(TX_SANITIZE) $(LDFLAGS)
$(CORE): $(OBJECTS)
	@mkdir -p $(@D)
	@$(if $(MPI_MODULE),,rm -f $(dir $@)mpi.so) # of a build with MPI
	$(call say,LD $@$(if $(strip $(WITHOUT)), (without $(strip $(WITHOUT)))))$(LINK) -o $@ $(OBJECTS) $(BLAS_LIBS) $(HDF5_LIBS) $(TX_LIBS)

$(dir $(CORE))mpi.so: $(MPI_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LD $@)$(LINK) -o $@ $^ $(MPI_LIBS)

$(BUILD)/%.o: csrc/%.c Makefile $(BUILD)/made-with
	@mkdir -p $(@D)
	$(call say,CC $<)$(CC) $(CFLAGS) $(TX_CFLAGS) $(TX_SANITIZE) -MMD -MP -c -o $@ $<

# What only one file is to know. The flags that build_info tells are those that decide on the code.
quoted = '"$(subst ',,$(subst ",,$(strip $(1))))"'
$(BUILD)/passes/gemm.o: TX_CFLAGS += $(BLAS_CFLAGS)
$(BUILD)/data/hdf5.o: TX_CFLAGS += $(HDF5_CFLAGS)
$(BUILD)/mpi/wire.o: TX_CFLAGS += -D_DEFAULT_SOURCE $(MPI_CFLAGS)
$(BUILD)/mpi/module.o: TX_CFLAGS += -DTX_VERSION=$(call quoted,$(VERSION))
$(BUILD)/lua/build.o: TX_CFLAGS += -DTX_VERSION=$(call quoted,$(VERSION)) -DTX_BUILD_FLAGS=$(call quoted,$(CFLAGS) $(TX_CODE))

# The module without optional libraries, of the same objects but for the two that know these: for spec/build_spec.lua.
BARE := passes/gemm data/hdf5
$(BUILD)/bare/lua/texres/core.so: $(filter-out $(BARE:%=$(BUILD)/%.o),$(OBJECTS)) $(BARE:%=$(BUILD)/bare/%.o)
	@mkdir -p $(@D)
	$(call say,LD $@)$(LINK) -o $@ $^ $(TX_LIBS)

$(BUILD)/bare/%.o: csrc/%.c Makefile $(BUILD)/made-with
	@mkdir -p $(@D)
	$(call say,CC $< (bare))$(CC) $(CFLAGS) $(TX_CFLAGS) $(TX_SANITIZE) -MMD -MP -c -o $@ $<

# stb_image counts on sums and shifts that wrap around
$(BUILD)/data/stb.o: TX_CFLAGS += -fwrapv
$(BUILD)/data/stb.o: override TX_SANITIZE += -fno-sanitize=shift

define isa_rule
$(BUILD)/kernels/simd/$(1)/%.o: csrc/kernels/simd/%.c Makefile $(BUILD)/made-with
	@mkdir -p $$(@D)
	$$(call say,CC $$< ($(1)))$$(CC) $$(CFLAGS) $$(TX_CFLAGS) $$(TX_SANITIZE) $(FLAGS_$(1)) -DTX_SIMD=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

-include $(OBJECTS:.o=.d) $(MPI_OBJECTS:.o=.d) $(BARE:%=$(BUILD)/bare/%.d)

# -- what people type -------------------------------------------------------------------------------------------------

BUSTED    ?= $(LUA) /usr/bin/busted --ignore-lua
SPECS     ?=
LUA_FILES := $(shell find lua -name '*.lua')
C_FILES   := $(shell find csrc fuzz bench tools -name '*.[ch]')
LUA_PATHS := LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;'
TREE      := $(LUA_PATHS) LUA_CPATH='./lua/?.so;;' TEXRES_LUA='$(LUA)' BUSTED='$(BUSTED)'

.PHONY: demo test lint tidy format asan tsan test-isa test-gc test-aarch64 coverage fuzz oom docs bench install uninstall clean help

# Installs missing system packages: those for building, for running, and for the use named. What needs them afterwards
# runs in a make of its own, which then finds them.
setup-%:
	@tools/setup.sh build run $(filter-out run,$*) $(if $(filter no,$(MPI)),,$(if $(filter test lint tidy,$*),mpi))

DEMO := demo/run
demo: setup-run ## build, train on synthetic fabric, test, use the network, in under four minutes
	@$(MAKE) --no-print-directory all
	@echo "Makes 6000 synthetic images of 1000 cloths, trains a network on some of the cloths for 18 epochs, tests it on"
	@echo "others, and lets it judge twelve new pictures: two or three minutes on two cores."
	@rm -rf $(DEMO)
	@$(LUA) bin/texres fabric --out demo --count 6000 --sources 1000
	@$(LUA) bin/texres train demo/X.npy --groups source --out $(DEMO) --width 16 --epochs 18 --batch 32 --lr 5e-3
	@$(LUA) bin/texres fabric --out demo/new --count 12 --sources 12 --seed 99 --pictures >/dev/null
	@echo; $(LUA) bin/texres predict --model $(DEMO) --heatmaps demo/why demo/new/pictures
	@echo; echo "To look at: $(DEMO)/report.html; demo/sheet.png; demo/why, where the network saw defects in the twelve."
	@echo "To try next: bin/texres threshold $(DEMO) demo/new/pictures --escape 0.1; bin/texres summary $(DEMO);"
	@echo "  bin/texres train YOUR/PICTURES --groups FILE.csv:COLUMN, with a folder for each class; bin/texres help."

test: setup-test ## build and run every spec, or those in SPECS=...
	@$(MAKE) --no-print-directory all
	@$(TREE) $(LUA) tools/test.lua $(SPECS)

lint: setup-lint ## luacheck, clang-format, the floors of csrc/, every header on its own
	@$(MAKE) --no-print-directory check

.PHONY: check
check: all
	@luacheck -q $(wildcard lua examples spec bench fuzz tools bin/texres)
	@$(LUA) tools/floors.lua $(CORE) $(MPI_MODULE)
	@clang-format --dry-run -Werror $(C_FILES)
	@for h in $(filter-out csrc/kernels/simd/% %_body.h,$(filter %.h,$(C_FILES))); do \
	  $(CC) $(TX_CFLAGS) -Werror -Wno-unused-function -fsyntax-only -include $$h -x c /dev/null || exit 1; \
	done

# What needs minutes: clang-tidy (.clang-tidy) and cppcheck (tools/cppcheck.supp) over all sources but those of csrc/kernels/simd/.
TIDY_FLAGS = $(filter-out -W% -Icsrc,$(TX_CFLAGS)) -I$(CURDIR)/csrc $(BLAS_CFLAGS) $(HDF5_CFLAGS) -D_DEFAULT_SOURCE $(MPI_CFLAGS)
tidy: setup-tidy ## clang-tidy and cppcheck
	@mkdir -p $(BUILD)
	@printf '%s\n' $(TIDY_FLAGS) '-DTX_VERSION=""' '-DTX_BUILD_FLAGS=""' >$(BUILD)/compile_flags.txt
	@printf '%s\n' $(SOURCES) $(MPI_SOURCES) | xargs -P 2 -n 8 clang-tidy --quiet -p $(BUILD) 2>/dev/null
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --error-exitcode=1 -j 2 \
	  --suppressions-list=tools/cppcheck.supp --inline-suppr -Icsrc -DTX_HAVE_OPENBLAS -DTX_HAVE_HDF5 $(SOURCES) $(MPI_SOURCES)

format: setup-lint ## bring the C sources into the house's style
	clang-format -i $(C_FILES)

# The specs of what is computed: what another CPU or compiler could get wrong.
NUMBER_SPECS := $(sort $(wildcard spec/autograd_spec.lua spec/conv*_spec.lua spec/determinism_spec.lua spec/layers_*_spec.lua \
  spec/*_isa_spec.lua spec/ops_*_spec.lua spec/optim_spec.lua spec/random_spec.lua spec/sort_spec.lua spec/strides_spec.lua \
  spec/tensor_spec.lua))

# The module is built apart, in build-asan; freed blocks are not kept, so that a use after free is seen.
# Left out are the specs that test what was installed: their programs are not the sanitized build. And that of mpirun, which
# leaks memory itself.
ASAN_SPECS := $(filter-out spec/distributed_spec.lua spec/docs_spec.lua spec/examples_spec.lua spec/install_spec.lua,$(wildcard spec/*_spec.lua))
MAKE_ASAN := $(MAKE) --no-print-directory all BUILD=build-asan CORE=build-asan/lua/texres/core.so CFLAGS='-O1 -g' \
	  TX_SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer'
WITH_ASAN  = env LD_PRELOAD=$$($(CC) -print-file-name=libasan.so)
asan: setup-test ## the specs under AddressSanitizer and UBSan (SPECS=... for some)
	@$(MAKE) --no-print-directory all # what the specs of the command run
	@$(MAKE_ASAN)
	@$(LUA_PATHS) LUA_CPATH='./build-asan/lua/?.so;;' TEXRES_LUA='$(LUA)' \
	  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 LSAN_OPTIONS=suppressions=tools/lsan.supp:print_suppressions=0 \
	  UBSAN_OPTIONS=print_stacktrace=1 \
	  BUSTED="$(WITH_ASAN) $(BUSTED)" $(LUA) tools/test.lua $(or $(SPECS),$(ASAN_SPECS))

# The specs in which several threads work. What tools/tsan.supp leaves out is explained there. The runtime is loaded into the
# interpreter alone, by the dynamic loader: a shell that it is loaded into does not start.
TSAN_SPECS := $(addprefix spec/,threads_spec.lua loader_spec.lua determinism_spec.lua models_spec.lua \
  quantized_core_spec.lua raw_frames_spec.lua)
build-tsan/lua/run: Makefile
	@mkdir -p $(@D)
	@printf '#!/bin/sh\nexec %s --preload %s %s "$$@"\n' "$$(ldd $$(command -v $(LUA)) | \
	  sed -n 's|^[[:space:]]*\(/[^ ]*/ld-[^ ]*\).*|\1|p')" "$$($(CC) -print-file-name=libtsan.so)" "$$(command -v $(LUA))" >$@
	@chmod +x $@

tsan: setup-test build-tsan/lua/run ## the specs of threads under ThreadSanitizer (SPECS=... for some)
	@$(MAKE) --no-print-directory all BUILD=build-tsan CORE=build-tsan/lua/texres/core.so CFLAGS='-O1 -g' \
	  TX_SANITIZE='-fsanitize=thread -fno-omit-frame-pointer'
	@$(LUA_PATHS) LUA_CPATH='./build-tsan/lua/?.so;;' TEXRES_LUA='$(CURDIR)/build-tsan/lua/run' \
	  TSAN_OPTIONS='suppressions=$(CURDIR)/tools/tsan.supp:halt_on_error=1:exitcode=66' \
	  BUSTED='$(CURDIR)/build-tsan/lua/run $(wordlist 2,99,$(BUSTED))' $(LUA) tools/test.lua $(or $(SPECS),$(TSAN_SPECS))

test-isa: setup-test ## the specs of numbers on each instruction set of this machine (SPECS=... for some)
	@$(MAKE) --no-print-directory all
	@for isa in $$($(TREE) $(LUA) -e 'print(table.concat(require "texres.core".build_info().isas, " "))'); do \
	  echo "$$isa:"; $(TREE) TEXRES_ISA=$$isa $(LUA) tools/test.lua $(or $(SPECS),$(NUMBER_SPECS)) || exit 1; \
	done

# Lua's collector runs as often as it can, in both of its modes: what is used without being held fails then.
GC_MODES := collectgarbage("incremental",1,400,4) collectgarbage("generational",1,1)
GC_SPECS := $(addprefix spec/,autograd_spec.lua data_spec.lua loader_spec.lua nn_spec.lua npy_spec.lua ops_hostile_spec.lua \
  ops_views_spec.lua readers_spec.lua safetensors_spec.lua tensor_spec.lua trainer_loop_spec.lua)
test-gc: setup-test ## specs while Lua's collector runs all the time (SPECS=... for some)
	@$(MAKE) --no-print-directory all
	@for mode in $(GC_MODES:%='%'); do \
	  echo "$$mode:"; $(TREE) LUA_INIT="$$mode" $(LUA) tools/test.lua $(or $(SPECS),$(GC_SPECS)) || exit 1; \
	done

# The module is built apart, in build-coverage, and counts the lines that run.
coverage: setup-test ## the lines of C that the specs run, by gcov (SPECS=... for some)
	@$(MAKE) --no-print-directory all # what the specs of the command run
	@$(MAKE) --no-print-directory all BUILD=build-coverage CORE=build-coverage/lua/texres/core.so \
	  TX_SANITIZE='-O1 --coverage -fprofile-update=atomic'
	@find build-coverage -name '*.gcda' -delete
	@$(LUA_PATHS) LUA_CPATH='./build-coverage/lua/?.so;;' TEXRES_LUA='$(LUA)' BUSTED='$(BUSTED)' $(LUA) tools/test.lua $(SPECS)
	@$(LUA) tools/coverage.lua build-coverage

# Cross-compiled against Debian's arm64 packages, which tools/aarch64.sh puts into build-aarch64/root, and run by qemu-user: the
# specs of what is computed.
AARCH64_ROOT  := $(CURDIR)/build-aarch64/root
AARCH64_LIB   := $(AARCH64_ROOT)/usr/lib/aarch64-linux-gnu
AARCH64_SPECS := $(NUMBER_SPECS)
test-aarch64: setup-aarch64 setup-test ## the specs of numbers on an emulated aarch64 (SPECS=... for some)
	@tools/aarch64.sh $(AARCH64_ROOT)
	@$(MAKE) --no-print-directory all BUILD=build-aarch64 CORE=build-aarch64/lua/texres/core.so \
	  CC='$(filter ccache,$(CC)) aarch64-linux-gnu-gcc --sysroot=$(AARCH64_ROOT)' LUA_INCDIR=$(AARCH64_ROOT)/usr/include/lua5.4 \
	  OPENBLAS_INCDIR=$(AARCH64_ROOT)/usr/include/aarch64-linux-gnu/openblas-pthread OPENBLAS_LIBDIR=$(AARCH64_LIB)/openblas-pthread \
	  PKG_CONFIG='env PKG_CONFIG_SYSROOT_DIR=$(AARCH64_ROOT) PKG_CONFIG_LIBDIR=$(AARCH64_LIB)/pkgconfig pkg-config'
	@$(LUA_PATHS) LUA_CPATH='./build-aarch64/lua/?.so;;' TEXRES_LUA='$(AARCH64_ROOT)/run' \
	  BUSTED='$(AARCH64_ROOT)/run $(wordlist 2,99,$(BUSTED))' $(LUA) tools/test.lua $(or $(SPECS),$(AARCH64_SPECS))

# Readers: the core is built apart with clang, in build-fuzz; a crash leaves its input there. The Lua interface: the
# module of `make asan`, in an empty folder, with allocations of at most 64 MB.
FUZZERS        := $(filter-out support,$(patsubst fuzz/%.c,%,$(wildcard fuzz/*.c))) interface
FUZZ_SECONDS   ?= 600
FUZZ_CALLS     ?= 1000000
FUZZ_SEED      ?= 1
FUZZ_FLAGS     := -O1 -g -fno-omit-frame-pointer -DTX_FUZZING
READER_FUZZERS  = $(filter-out interface,$(FUZZERS))
.PHONY: fuzz-readers fuzz-interface
fuzz: $(if $(READER_FUZZERS),fuzz-readers) $(if $(filter interface,$(FUZZERS)),fuzz-interface) ## hostile files and hostile calls (FUZZERS=... for some)

fuzz-readers: setup-fuzz
	@$(MAKE) --no-print-directory $(READER_FUZZERS:%=build-fuzz/%) BUILD=build-fuzz CC=clang ISAS= TX_WARN= CFLAGS='$(FUZZ_FLAGS)' \
	  TX_SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined'
	@for f in $(READER_FUZZERS); do \
	  echo "$$f: $(FUZZ_SECONDS) s"; mkdir -p build-fuzz/corpus/$$f; \
	  build-fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=build-fuzz/$$f- build-fuzz/corpus/$$f spec/fixtures/data || exit 1; \
	done

fuzz-interface: setup-run
	@$(MAKE_ASAN)
	@rm -rf build-fuzz/interface && mkdir -p build-fuzz/interface && cd build-fuzz/interface && \
	  LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;' LUA_CPATH='$(CURDIR)/build-asan/lua/?.so;;' \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(WITH_ASAN) $(LUA) $(CURDIR)/fuzz/interface.lua --calls $(FUZZ_CALLS) --seed $(FUZZ_SEED)

build-fuzz/%: fuzz/%.c fuzz/support.c fuzz/fuzz.h $(filter-out $(BUILD)/lua/%,$(OBJECTS))
	$(call say,LD $@)$(CC) $(CFLAGS) $(TX_CFLAGS) -Ifuzz $(TX_SANITIZE) -fsanitize=fuzzer -o $@ $< fuzz/support.c \
	  $(filter %.o,$^) $(BLAS_LIBS) $(HDF5_LIBS) $(TX_LIBS)

# Allocations of common work fail in turn, each place that allocates at some of the times that it is met (tools/oom.lua):
# under a minute. OOM_EVERY=1: each allocation. tools/oom.c stands before the system's allocator.
oom: setup-run ## let the allocations of a training step, load, save and each reader fail (OOM=... for some, OOM_EVERY=1: all)
	@$(MAKE) --no-print-directory all $(BUILD)/oom.so
	@rm -rf $(BUILD)/oom && mkdir -p $(BUILD)/oom
	@$(LUA_PATHS) LUA_CPATH='./lua/?.so;;' OOM_EVERY='$(OOM_EVERY)' LD_PRELOAD=$(BUILD)/oom.so $(LUA) tools/oom.lua $(BUILD) $(OOM)

$(BUILD)/oom.so: tools/oom.c Makefile
	@mkdir -p $(@D)
	$(call say,CC $<)$(CC) $(CFLAGS) $(TX_CFLAGS) -fvisibility=default -shared -o $@ $< -ldl -lpthread

docs: setup-run ## the reference as Markdown, and texres.lua for the Lua language server, in build/docs
	@$(MAKE) --no-print-directory all
	@mkdir -p $(BUILD)/docs
	@$(TREE) $(LUA) tools/reference.lua $(BUILD)/docs

bench: setup-run ## compare speed and memory with PyTorch, where the Python in PYTHON= can import it
	@$(MAKE) --no-print-directory all $(BUILD)/cores
	@$(LUA) bench/run.lua --cores $(BUILD)/cores
	@$(LUA) bench/conv.lua

$(BUILD)/cores: bench/cores.c
	@mkdir -p $(@D)
	$(call say,CC $<)$(CC) $(CFLAGS) -std=c11 $(TX_WARN) -o $@ $< -lpthread

install: all ## install below PREFIX (/usr/local), or to LUADIR, LIBDIR and BINDIR
	@for f in $(LUA_FILES:lua/%=%); do install -D -m 644 lua/$$f "$(DESTDIR)$(LUADIR)/$$f" || exit 1; done
	install -D -m 755 $(CORE) "$(DESTDIR)$(LIBDIR)/texres/core.so"
	$(if $(MPI_MODULE),install -D -m 755 $(MPI_MODULE),@rm -f) "$(DESTDIR)$(LIBDIR)/texres/mpi.so"
	install -D -m 755 bin/texres "$(DESTDIR)$(BINDIR)/texres"
	@[ '$(LUA)' = lua5.4 ] || sed -i.made '1s|.*|#!$(if $(filter /%,$(LUA)),,/usr/bin/env )$(LUA)|' "$(DESTDIR)$(BINDIR)/texres"
	@rm -f "$(DESTDIR)$(BINDIR)/texres.made"

uninstall: ## remove what `make install` puts in place
	@for f in $(LUA_FILES:lua/%=%); do rm -f "$(DESTDIR)$(LUADIR)/$$f" || exit 1; done
	@rm -f "$(DESTDIR)$(LIBDIR)/texres/core.so" "$(DESTDIR)$(LIBDIR)/texres/mpi.so" "$(DESTDIR)$(BINDIR)/texres"
	@for d in "$(DESTDIR)$(LUADIR)/texres" "$(DESTDIR)$(LIBDIR)/texres"; do \
	  if [ -d "$$d" ]; then find "$$d" -type d -empty -delete; fi; \
	done
	@for d in "$(DESTDIR)$(LUADIR)" "$(DESTDIR)$(LIBDIR)"; do \
	  case $$d in */lua/5.4) rmdir "$$d" "$${d%/*}" 2>/dev/null || true;; esac; \
	done

clean: ## remove what was built
	rm -rf build build-asan build-tsan build-fuzz build-aarch64 build-coverage $(CORE) $(dir $(CORE))mpi.so demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
