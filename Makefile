# texres - see `make help`.
#
# Sources are found by pattern: a new file in csrc/ needs no line here. Files in csrc/kernels/simd/ are compiled once per
# instruction set. Project flags live in TX_*, so that CFLAGS and LDFLAGS stay the user's (LuaRocks sets them).

LUA        ?= lua5.4
BUILD      ?= build
CFLAGS     ?= -O2 -g
LUA_PC     := $(firstword $(foreach p,lua5.4 lua-5.4 lua54,$(shell pkg-config --exists $(p) 2>/dev/null && echo $(p))))
LUA_INCDIR ?= $(patsubst -I%,%,$(filter -I%,$(shell pkg-config --cflags-only-I $(LUA_PC) 2>/dev/null)))
PREFIX     ?= /usr/local
LUADIR     ?= $(PREFIX)/share/lua/5.4
LIBDIR     ?= $(PREFIX)/lib/lua/5.4

TX_WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(CI),-Werror)
TX_CFLAGS := -std=c11 -O3 -fPIC -fvisibility=hidden -fopenmp -fno-math-errno -fno-trapping-math -Icsrc $(if $(LUA_INCDIR),-I$(LUA_INCDIR)) \
             $(shell pkg-config --cflags openblas 2>/dev/null) $(TX_WARN)
TX_LDFLAGS := -shared -fopenmp -Wl,-z,nodelete -Wl,--no-undefined-version
TX_LIBS   := $(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas) -lm -lpthread

# HDF5 is optional: with it, train64.h5 and its like can be read.
TX_HDF5 := $(firstword $(foreach p,hdf5-serial hdf5,$(shell pkg-config --exists $(p) 2>/dev/null && echo $(p))))
ifneq ($(TX_HDF5),)
TX_CFLAGS += -DTX_HAVE_HDF5 $(shell pkg-config --cflags $(TX_HDF5))
TX_LIBS   += $(shell pkg-config --libs $(TX_HDF5))
endif

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
ifeq ($(ARCH),x86_64)
ISAS := avx2 avx512
else ifeq ($(ARCH),aarch64)
ISAS := neon
endif
FLAGS_avx2   := -mavx2 -mfma
FLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
FLAGS_neon   :=

SOURCES := $(sort $(filter-out csrc/kernels/simd/%,$(wildcard csrc/*/*.c csrc/kernels/*/*.c)))
SIMD    := $(sort $(wildcard csrc/kernels/simd/*.c))
OBJECTS := $(SOURCES:csrc/%.c=$(BUILD)/%.o) $(foreach isa,$(ISAS),$(SIMD:csrc/kernels/simd/%.c=$(BUILD)/kernels/simd/$(isa)/%.o))
CORE    := lua/texres/core.so

.PHONY: all
all: $(CORE)

$(CORE): $(OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(TX_LDFLAGS) $(TX_SANITIZE) $(LDFLAGS) -o $@ $(OBJECTS) $(TX_LIBS)

$(BUILD)/%.o: csrc/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TX_CFLAGS) $(TX_SANITIZE) -MMD -MP -c -o $@ $<

define isa_rule
$(BUILD)/kernels/simd/$(1)/%.o: csrc/kernels/simd/%.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(TX_CFLAGS) $$(TX_SANITIZE) $(FLAGS_$(1)) -DTX_SIMD=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

-include $(OBJECTS:.o=.d)
