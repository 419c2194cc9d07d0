"""A small default set of procedures for a clinic that has no directory yet.

Their codes belong to this program and are marked as `local`: codes of the official dictionary are never invented.
"""

from __future__ import annotations

from broker.domain.clinic.devices import ProcedureType

PROCEDURES = (
    ProcedureType("WLB-FLG1", "Флюорография, прямая проекция", "DX", 10),
    ProcedureType("WLB-FLG2", "Флюорография, 2 проекции", "DX", 10),
    ProcedureType("WLB-CHEST2", "Рентгенография органов грудной клетки, 2 проекции", "DX", 15),
    ProcedureType("WLB-SINUS", "Рентгенография придаточных пазух носа", "DX", 15),
    ProcedureType("WLB-SPINE-C", "Рентгенография шейного отдела позвоночника", "DX", 15),
    ProcedureType("WLB-SPINE-L", "Рентгенография поясничного отдела позвоночника", "DX", 15),
    ProcedureType("WLB-HAND", "Рентгенография кисти", "DX", 15),
    ProcedureType("WLB-KNEE", "Рентгенография коленного сустава", "DX", 15),
    ProcedureType("WLB-FOOT", "Рентгенография стопы", "DX", 15),
    ProcedureType("WLB-MMG4", "Маммография обзорная, 4 проекции", "MG", 20),
    ProcedureType("WLB-CT-HEAD", "Компьютерная томография головного мозга", "CT", 20),
    ProcedureType("WLB-CT-CHEST", "Компьютерная томография органов грудной клетки", "CT", 20),
    ProcedureType("WLB-US-ABD", "УЗИ органов брюшной полости", "US", 20),
    ProcedureType("WLB-US-THYR", "УЗИ щитовидной железы", "US", 15),
)
